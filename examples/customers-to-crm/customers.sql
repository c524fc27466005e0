-- The table that customers.hcl reads.
CREATE TABLE IF NOT EXISTS public.customers (
  id         bigint PRIMARY KEY,
  email      text,
  first_name text,
  last_name  text,
  phone      text,
  country    char(2),
  mrr_cents  bigint NOT NULL DEFAULT 0,
  is_test    boolean NOT NULL DEFAULT false,
  deleted_at timestamptz
);
