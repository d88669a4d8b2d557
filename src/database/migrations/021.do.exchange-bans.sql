-- Until when an exchange answers no call from our address: one row per host, for all replicas and across restarts.
create table exchange_bans (
  exchange text not null,
  -- Base URL of the API, with the market where the exchange counts its markets separately. Never with a key.
  host text not null,
  -- By the clock of this database.
  until_at timestamptz not null,
  -- The HTTP status, or the exchange's own code of the answer.
  exchange_code text,
  reported_by text not null,
  reported_at timestamptz not null default now(),
  primary key (exchange, host)
);
