-- When the fills of an order are read again, to replace an execution that was recorded for a difference, and how often they
-- were. Null when there is none, and after the last time.
alter table orders add column fills_due_at timestamptz, add column fill_retries integer not null default 0;
create index orders_fills_due on orders (fills_due_at) where fills_due_at is not null;
update orders o set fills_due_at = now()
where updated_at > now() - interval '90 days'
  and exists (select from trade_executions e where e.order_id = o.order_id and starts_with(e.exchange_trade_id, 'cum:'));

-- Executions for a difference that the fills have replaced. The figures of their days are computed again.
create table replaced_executions (
  execution_id bigint primary key,
  order_id bigint not null references orders,
  strategy_account_id bigint not null references strategy_accounts,
  account_id bigint not null references accounts,
  exchange_trade_id text not null,
  currency text not null,
  side text not null,
  price numeric not null,
  quantity numeric not null,
  fee_value numeric,
  realized_pnl numeric,
  executed_at timestamptz not null,
  replaced_at timestamptz not null default now()
);
create index replaced_executions_replaced_at on replaced_executions (replaced_at);
