-- How often in a row the exchange told of a filled quantity whose fills it does not give.
alter table orders add column fill_checks integer not null default 0;

-- What was held before an execution, in the order of execution: a fill that arrives late is put in its place by counting
-- anew from there, and not from the beginning. Null on rows that this service did not write.
alter table trade_executions add column quantity_before numeric, add column entry_price_before numeric;

-- Binance and OKX number trades per symbol, and a trade of an account with itself has one number on both sides.
alter table trade_executions
  drop constraint trade_executions_account_id_market_type_exchange_trade_id_key,
  add constraint trade_executions_once unique (account_id, market_type, exchange_trade_id, order_id);

create index trade_executions_position
  on trade_executions (strategy_account_id, market_type, symbol, position_side, executed_at);

-- Marks change again and again: room on the page keeps the indexes out of it.
alter table strategy_positions set (fillfactor = 50);
alter table orders set (fillfactor = 80);
