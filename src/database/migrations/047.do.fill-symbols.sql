-- Where an exchange lists fills by symbol only: the symbols whose fills were read.
create table fill_symbols (
  account_id bigint not null references accounts,
  market_type text not null check (market_type in ('SPOT', 'FUTURES')),
  exchange_symbol text not null,
  -- Whether the account uses it, so that each run reads its fills. Others were searched for the cause of a difference.
  is_followed boolean not null,
  -- Its fills before this time were read. Null: those before fill_readings.read_until, with which it is read.
  read_until timestamptz,
  primary key (account_id, market_type, exchange_symbol),
  check (is_followed or read_until is not null)
);
