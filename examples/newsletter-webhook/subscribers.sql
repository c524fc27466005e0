-- The table that subscribers.hcl reads.
CREATE TABLE IF NOT EXISTS public.subscribers (
  id              bigint PRIMARY KEY,
  email           text NOT NULL,
  language        char(2),
  interests       text[] NOT NULL DEFAULT '{}',
  confirmed_at    timestamptz,
  unsubscribed_at timestamptz
);
