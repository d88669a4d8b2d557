-- Whose money is where, what is ordered with it, and what became of it. The order-entry side of the trading system
-- writes accounts, strategies and orders; this service keeps their state true. Amounts are exact: numeric throughout.
create table accounts (
  account_id bigint generated always as identity primary key,
  user_id bigint not null references users,
  name text not null,
  exchange text not null check (exchange in ('BINANCE', 'BYBIT', 'OKX', 'UPBIT', 'BITHUMB')),
  -- AES-256-GCM; key_id names the key of ENCRYPTION_KEY.
  api_key_encrypted bytea not null,
  api_secret_encrypted bytea not null,
  passphrase_encrypted bytea,
  key_id text not null,
  is_testnet boolean not null default false,
  is_active boolean not null default true,
  state text not null default 'ok' check (state in ('ok', 'credentials_refused')),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index accounts_name on accounts (user_id, lower(name));

create table strategies (
  strategy_id bigint generated always as identity primary key,
  user_id bigint not null references users,
  name text not null,
  market_type text not null check (market_type in ('SPOT', 'FUTURES')),
  is_active boolean not null default true,
  created_at timestamptz not null default now()
);

create table strategy_accounts (
  strategy_account_id bigint generated always as identity primary key,
  strategy_id bigint not null references strategies,
  account_id bigint not null references accounts,
  allocated_capital numeric not null check (allocated_capital >= 0),
  capital_currency text not null,
  is_active boolean not null default true,
  unique (strategy_id, account_id)
);
create index strategy_accounts_account_id on strategy_accounts (account_id);

create table orders (
  order_id bigint generated always as identity primary key,
  strategy_account_id bigint not null references strategy_accounts,
  account_id bigint not null references accounts,
  market_type text not null check (market_type in ('SPOT', 'FUTURES')),
  -- Null until the exchange has answered the order-entry side.
  exchange_order_id text,
  symbol text not null,
  exchange_symbol text not null,
  side text not null check (side in ('BUY', 'SELL')),
  position_side text not null default 'BOTH' check (position_side in ('BOTH', 'LONG', 'SHORT')),
  order_type text not null,
  price numeric,
  stop_price numeric,
  quantity numeric not null check (quantity > 0),
  filled_quantity numeric not null default 0 check (filled_quantity >= 0),
  average_price numeric,
  status text not null default 'pending' check (
    status in ('pending', 'open', 'partially_filled', 'filled', 'canceled', 'rejected', 'expired', 'unknown')
  ),
  -- How often in a row the exchange did not know the order.
  misses integer not null default 0,
  error_code text,
  last_checked_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (account_id, market_type, exchange_order_id)
);
create index orders_unfinished on orders (account_id, market_type)
  where status in ('pending', 'open', 'partially_filled', 'unknown');
create index orders_strategy_account_id on orders (strategy_account_id);

create table trade_executions (
  execution_id bigint generated always as identity primary key,
  order_id bigint not null references orders,
  strategy_account_id bigint not null references strategy_accounts,
  account_id bigint not null references accounts,
  market_type text not null check (market_type in ('SPOT', 'FUTURES')),
  exchange_trade_id text not null,
  symbol text not null,
  -- The quote currency of the symbol: price, fee_value and realized_pnl are in it.
  currency text not null,
  side text not null check (side in ('BUY', 'SELL')),
  position_side text not null default 'BOTH' check (position_side in ('BOTH', 'LONG', 'SHORT')),
  price numeric not null,
  quantity numeric not null check (quantity > 0),
  fee numeric not null default 0,
  fee_asset text,
  -- In the quote currency; null while nobody knows.
  fee_value numeric,
  -- Gross. Null when the execution closes nothing.
  realized_pnl numeric,
  executed_at timestamptz not null,
  recorded_at timestamptz not null default now(),
  unique (account_id, market_type, exchange_trade_id)
);
create index trade_executions_order_id on trade_executions (order_id);
create index trade_executions_strategy_account on trade_executions (strategy_account_id, executed_at);
create index trade_executions_account on trade_executions (account_id, executed_at);
create index trade_executions_recorded_at on trade_executions (recorded_at);

create table strategy_positions (
  strategy_account_id bigint not null references strategy_accounts,
  market_type text not null check (market_type in ('SPOT', 'FUTURES')),
  symbol text not null,
  position_side text not null default 'BOTH' check (position_side in ('BOTH', 'LONG', 'SHORT')),
  -- The quote currency of the symbol: every amount of this row is in it.
  currency text not null,
  -- Signed: below zero is short.
  quantity numeric not null default 0,
  -- Average cost; null while nothing is held.
  entry_price numeric,
  mark_price numeric,
  marked_at timestamptz,
  unrealized_pnl numeric not null default 0,
  -- Gross, over the life of the position; fees beside it.
  realized_pnl numeric not null default 0,
  fees numeric not null default 0,
  updated_at timestamptz not null default now(),
  primary key (strategy_account_id, market_type, symbol, position_side)
);
create index strategy_positions_open on strategy_positions (market_type, symbol) where quantity <> 0;

create table account_balances (
  account_id bigint not null references accounts,
  market_type text not null check (market_type in ('SPOT', 'FUTURES')),
  asset text not null,
  free numeric not null,
  locked numeric not null,
  total numeric not null,
  synced_at timestamptz not null,
  primary key (account_id, market_type, asset)
);

create table account_balance_history (
  account_id bigint not null references accounts,
  at timestamptz not null,
  currency text not null,
  total numeric not null,
  primary key (account_id, currency, at)
);

-- One row per currency of an account: amounts are never added across currencies.
create table daily_account_summaries (
  account_id bigint not null references accounts,
  date date not null,
  currency text not null,
  start_balance numeric,
  end_balance numeric,
  realized_pnl numeric not null,
  unrealized_pnl numeric not null,
  fees numeric not null,
  trades integer not null,
  wins integer not null,
  losses integer not null,
  win_rate numeric,
  volume numeric not null,
  max_drawdown numeric,
  is_final boolean not null default false,
  computed_at timestamptz not null default now(),
  primary key (account_id, date, currency)
);

create table strategy_performance (
  strategy_id bigint not null references strategies,
  date date not null,
  currency text not null,
  daily_pnl numeric not null,
  cumulative_pnl numeric not null,
  daily_return numeric,
  cumulative_return numeric,
  trades integer not null,
  wins integer not null,
  win_rate numeric,
  max_drawdown numeric,
  volatility numeric,
  sharpe numeric,
  sortino numeric,
  fees numeric not null,
  -- Executions of the day in another quote currency: counted, never converted.
  executions_apart integer not null default 0,
  computed_at timestamptz not null default now(),
  primary key (strategy_id, date, currency)
);
