-- When the wallets of an account were last read, or could not be read: the accounts that wait longest are read first.
create table balance_readings (
  account_id bigint primary key references accounts,
  attempted_at timestamptz not null default now()
);
