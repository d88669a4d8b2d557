-- In what the answers about an order differ from it, and in how many checks in a row they did.
alter table orders add column mismatch text, add column mismatch_checks integer not null default 0;

-- Binance spot numbers orders per symbol.
alter table orders
  drop constraint orders_account_id_market_type_exchange_order_id_key,
  add constraint orders_at_exchange unique (account_id, market_type, exchange_symbol, exchange_order_id);
