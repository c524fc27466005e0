-- The tables that deals.hcl reads.
CREATE TABLE IF NOT EXISTS public.customers (
  id    bigint PRIMARY KEY,
  email text,
  name  text
);
CREATE TABLE IF NOT EXISTS public.firms (
  country char(2),
  number  integer,
  name    text NOT NULL,
  PRIMARY KEY (country, number)
);
CREATE TABLE IF NOT EXISTS public.deals (
  id           bigint PRIMARY KEY,
  title        text NOT NULL,
  amount       numeric(12, 2),
  customer_id  bigint NOT NULL REFERENCES customers,
  firm_country char(2),
  firm_number  integer,
  FOREIGN KEY (firm_country, firm_number) REFERENCES firms
);
