-- What changes a wallet besides fills, as the exchange lists it. `opening` and `adjustment` are written by this service.
-- Money: rows are never changed or deleted.
create table ledger_entries (
  entry_id bigint generated always as identity primary key,
  account_id bigint not null references accounts,
  -- The market of the wallet.
  wallet text not null check (wallet in ('SPOT', 'FUTURES')),
  asset text not null,
  -- Signed: the change of the total of the wallet.
  amount numeric not null check (amount <> 'NaN'),
  kind text not null check (
    kind in (
      'opening', 'funding', 'deposit', 'withdrawal', 'transfer', 'interest', 'borrow', 'repay', 'rebate', 'commission',
      'liquidation', 'conversion', 'dividend', 'adjustment', 'other'
    )
  ),
  -- The exchange's own word.
  exchange_kind text not null,
  exchange_entry_id text not null,
  -- In the exchange's spelling; null when the entry has none.
  symbol text,
  at timestamptz not null,
  recorded_at timestamptz not null default now(),
  -- What the exchange listed later under the same id with another asset or amount: asset, amount, listed_at. Null while it
  -- has always listed the same.
  conflict jsonb,
  unique (account_id, wallet, kind, exchange_entry_id)
);
create index ledger_entries_by_time on ledger_entries (account_id, wallet, at);

-- How far the ledger of a wallet was read.
create table ledger_readings (
  account_id bigint not null references accounts,
  wallet text not null check (wallet in ('SPOT', 'FUTURES')),
  -- Entries before this time were read. Later ones may be recorded already.
  read_until timestamptz not null,
  -- When it was last read, or could not be read.
  attempted_at timestamptz not null default now(),
  -- The periods that are incomplete, the oldest first: from and until in milliseconds, and a code.
  incomplete jsonb not null default '[]',
  primary key (account_id, wallet)
);
