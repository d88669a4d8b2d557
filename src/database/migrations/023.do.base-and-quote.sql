-- Base and quote of a symbol, as its exchange names them. Null while they are not known; an earlier version writes none.
alter table orders add column base text, add column quote text;
alter table trade_executions add column base text, add column quote text;
alter table strategy_positions add column base text, add column quote text;

-- These exchanges write a separator between base and quote. A row with another symbol stays as it is.
with spelled as (
  select order_id, split_part(exchange_symbol, '-', base_at) as base, split_part(exchange_symbol, '-', 3 - base_at) as quote
  from orders join (
    select account_id, case exchange when 'OKX' then 1 else 2 end as base_at from accounts
    where exchange in ('OKX', 'UPBIT', 'BITHUMB')
  ) separating using (account_id)
)
update orders o set base = spelled.base, quote = spelled.quote
from spelled
where spelled.order_id = o.order_id and spelled.base <> '' and spelled.quote <> ''
  and o.symbol = spelled.base || spelled.quote;

-- Rows with another currency were booked with a wrong quote: update_open_orders computes them again.
update trade_executions e set base = o.base, quote = o.quote
from orders o
where o.order_id = e.order_id and o.symbol = e.symbol and o.quote = e.currency;

update strategy_positions p set base = known.base, quote = known.quote
from (select distinct strategy_account_id, market_type, symbol, base, quote from orders where quote is not null) known
where known.strategy_account_id = p.strategy_account_id and known.market_type = p.market_type
  and known.symbol = p.symbol and known.quote = p.currency;

-- What is still to be completed.
create index orders_without_quote on orders (order_id) where quote is null;
create index trade_executions_without_quote on trade_executions (order_id) where quote is null;

-- The earlier version reads and writes currency, this one writes quote.
create function currency_of_quote() returns trigger language plpgsql as $$
begin
  new.currency := coalesce(new.quote, new.currency);
  return new;
end $$;
create trigger currency_of_quote before insert or update of quote on trade_executions
  for each row execute function currency_of_quote();
create trigger currency_of_quote before insert or update of quote on strategy_positions
  for each row execute function currency_of_quote();
