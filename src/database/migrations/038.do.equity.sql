-- The currency of the equity. Null: the main quote currency of the exchange.
alter table accounts add column valuation_currency text;
update accounts set valuation_currency = case when exchange in ('UPBIT', 'BITHUMB') then 'KRW' else 'USDT' end;

-- What an account was worth, in its valuation currency. Money: rows are never deleted.
create table equity_history (
  account_id bigint not null references accounts,
  -- When its wallets were read.
  at timestamptz not null,
  currency text not null,
  -- cash + holdings + unrealized_pnl, without what is in unvalued.
  equity numeric not null,
  -- The valuation currency itself.
  cash numeric not null,
  -- All other assets.
  holdings numeric not null,
  -- Of the open perpetuals.
  unrealized_pnl numeric not null,
  -- Assets and positions without a current price: kind (asset, position), name, amount.
  unvalued jsonb not null default '[]',
  -- What came from outside since the row before: deposits, withdrawals, transfers and adjustments. Null while it is not
  -- known, and, with flow_at, where it cannot be known.
  external_flow numeric,
  -- When external_flow was computed. Null while the ledgers are not read until the time of the row.
  flow_at timestamptz,
  primary key (account_id, at)
);
create index equity_history_without_flow on equity_history (account_id, at) where flow_at is null;
create index ledger_entries_flows on ledger_entries (account_id, recorded_at)
  where kind in ('opening', 'deposit', 'withdrawal', 'transfer', 'adjustment');

-- Of the account, in the row of its valuation currency; null in the others.
alter table daily_account_summaries
  -- The last one of the day.
  add column equity numeric,
  -- Time-weighted, net of external flows.
  add column equity_return numeric,
  -- Spans of the day that are not in equity_return and max_drawdown: a price or a flow is not known.
  add column equity_gaps integer not null default 0,
  -- Assets and positions that the last equity is without.
  add column equity_unvalued integer not null default 0;
