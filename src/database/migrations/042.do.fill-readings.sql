-- How far the fills of an account were read on a market, and what the account held when it was read first.
create table fill_readings (
  account_id bigint not null references accounts,
  market_type text not null check (market_type in ('SPOT', 'FUTURES')),
  -- Fills before this time were read. Later ones may be recorded already.
  read_until timestamptz not null,
  attempted_at timestamptz not null default now(),
  -- Periods whose fills the exchange does not list any more: from and until in milliseconds.
  incomplete jsonb not null default '[]',
  -- Balances and positions, with the times between which they were read, in milliseconds. Opening entries and positions
  -- are made of it when everything until then is recorded.
  opening jsonb not null,
  opened_at timestamptz,
  primary key (account_id, market_type)
);
