-- The table that people.hcl reads: what years of forms, imports and people leave behind.
CREATE TABLE IF NOT EXISTS public.people (
  id         bigint PRIMARY KEY,
  name       text,
  email      text,
  phone      text,
  website    text,
  postcode   text,
  country    text,
  vat_id     text,
  birthday   text,
  notes      text,
  tags       text[],
  updated_at timestamptz NOT NULL DEFAULT now()
);
