-- The table that companies.hcl reads, in MySQL or MariaDB.
CREATE TABLE IF NOT EXISTS accounts (
  id          bigint PRIMARY KEY,
  name        varchar(120) NOT NULL,
  website     varchar(255),
  vat_id      varchar(20),
  country     char(2),
  city        varchar(80),
  plan        enum('free', 'pro', 'enterprise') NOT NULL DEFAULT 'free',
  seats       int unsigned NOT NULL DEFAULT 1,
  used_seats  int unsigned NOT NULL DEFAULT 0,
  yearly      decimal(12,2),
  closed_at   datetime
);
