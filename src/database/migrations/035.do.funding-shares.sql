-- Which part of a funding entry belongs to which position: the one that was held at that moment. The parts of an entry add
-- up to its amount, to the last digit. A part that moved to another position is 0.
create table funding_shares (
  entry_id bigint not null references ledger_entries,
  account_id bigint not null references accounts,
  -- Null: the account itself, because no strategy held the position.
  strategy_account_id bigint references strategy_accounts,
  -- Unified; null when the account has no order of the entry's symbol.
  symbol text,
  -- Null: no position was held.
  position_side text check (position_side in ('BOTH', 'LONG', 'SHORT')),
  currency text not null,
  amount numeric not null,
  at timestamptz not null,
  -- When the amount was changed last: the figures of the day are computed again.
  assigned_at timestamptz not null default now()
);
create unique index funding_shares_once
  on funding_shares (entry_id, coalesce(strategy_account_id, 0), coalesce(position_side, ''));
create index funding_shares_of_account on funding_shares (account_id, symbol, at);
create index funding_shares_of_strategy on funding_shares (strategy_account_id, at);
create index funding_shares_assigned_at on funding_shares (assigned_at);

-- The funding entries and executions that were recorded until then have their shares: one row, once a run has finished.
create table funding_progress (
  is_only boolean primary key default true check (is_only),
  assigned_until timestamptz not null
);

create index ledger_entries_of_results on ledger_entries (recorded_at) where kind in ('funding', 'interest');
create index ledger_entries_funding on ledger_entries (account_id, symbol, at) where kind = 'funding';
create index ledger_entries_by_account on ledger_entries (account_id, at) where kind in ('funding', 'interest');

-- Received funding, over the life of the position; below zero when paid.
alter table strategy_positions add column funding numeric not null default 0;

-- funding: received less paid. interest: paid less received. Net = realised - fees + funding - interest.
alter table daily_account_summaries
  add column funding numeric not null default 0,
  add column interest numeric not null default 0;
alter table strategy_performance add column funding numeric not null default 0;
