-- Orders that the order-entry side did not record: manual ones (external), and those of the exchange itself, such as
-- liquidations (forced). This service records them from the fills of the account.
alter table orders
  add column origin text not null default 'own' check (origin in ('own', 'external', 'forced')),
  -- Of an opening position: whether its price is the mark price, because the exchange reports no entry price.
  add column is_mark_price boolean not null default false,
  -- When the order-entry side recorded the same order: its row has the id of the exchange since then, and this one none.
  add column superseded_at timestamptz;
create index orders_superseded on orders (order_id) where superseded_at is not null and status <> 'canceled';

-- Null: no strategy holds the position, the account itself does.
alter table orders alter column strategy_account_id drop not null;
alter table trade_executions alter column strategy_account_id drop not null;
alter table replaced_executions alter column strategy_account_id drop not null;
create index trade_executions_of_account
  on trade_executions (account_id, market_type, symbol, position_side, executed_at) where strategy_account_id is null;

-- The same function for positions that no strategy holds, by their account.
do $do$
begin
  execute regexp_replace(
    replace(pg_get_functiondef('round_trips'::regproc), 'round_trips(', 'round_trips_of_account('),
    '(\w+)[.]strategy_account_id = of_account', '\1.account_id = of_account and \1.strategy_account_id is null', 'g'
  );
end $do$;

-- Positions of accounts are rows without a strategy, in the same table: every amount of a position exists once, and sums
-- over an account need no second table. A primary key has no nulls, so that it is a surrogate now, next to two unique
-- indexes: the first is that of the former key, which earlier versions name in their inserts. The account is in every row.
-- An earlier version writes none: a trigger adds it.
alter table strategy_positions
  add column position_id bigint generated always as identity,
  add column account_id bigint references accounts;
update strategy_positions p set account_id = sa.account_id
from strategy_accounts sa where sa.strategy_account_id = p.strategy_account_id;
alter table strategy_positions
  alter column account_id set not null,
  drop constraint strategy_positions_pkey,
  add primary key (position_id),
  alter column strategy_account_id drop not null,
  add constraint strategy_positions_of_strategy unique (strategy_account_id, market_type, symbol, position_side);
create unique index strategy_positions_of_account
  on strategy_positions (account_id, market_type, symbol, position_side) where strategy_account_id is null;
create index strategy_positions_account_id on strategy_positions (account_id);

create function account_of_position() returns trigger language plpgsql as $$
begin
  select account_id into new.account_id from strategy_accounts where strategy_account_id = new.strategy_account_id;
  return new;
end $$;
create trigger account_of_position before insert on strategy_positions
  for each row when (new.account_id is null) execute function account_of_position();

-- The order-entry side may record an order after this service has recorded it as an external one. Its row gets the id of
-- the exchange, and its statement succeeds: the external order loses the id, and update_open_orders removes its executions.
-- The lock is shared among the transactions of the order-entry side. This service holds it exclusively while it inserts
-- external orders, so that neither overlooks the uncommitted row of the other.
create function supersede_external_order() returns trigger language plpgsql as $$
begin
  perform pg_advisory_xact_lock_shared(hashtext('external orders'), (new.account_id % 256)::int);
  update orders set exchange_order_id = null, superseded_at = now()
  where account_id = new.account_id and market_type = new.market_type and exchange_symbol = new.exchange_symbol
    and exchange_order_id = new.exchange_order_id and origin <> 'own' and order_id <> new.order_id;
  return new;
end $$;
create trigger supersede_external_order before insert or update of exchange_order_id on orders
  for each row when (new.origin = 'own' and new.exchange_order_id is not null)
  execute function supersede_external_order();
