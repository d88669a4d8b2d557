-- Pages of positions, orders, executions and ledger entries: of all accounts, of one, of a strategy on one, and of all in
-- one currency. A page is read from its cursor on, in the order of an index. The indexes of an account and of a strategy
-- have the currency, too, so that rows in another one are skipped without being read.
create index trade_executions_by_time on trade_executions (executed_at, execution_id);
create index trade_executions_by_quote on trade_executions (quote, executed_at, execution_id);
create index orders_by_time on orders (created_at, order_id);
create index orders_by_quote on orders (quote, created_at, order_id);
create index orders_by_account on orders (account_id, created_at, order_id) include (quote);
create index ledger_entries_by_entry on ledger_entries (at, entry_id);
create index ledger_entries_by_asset on ledger_entries (asset, at, entry_id);
create index ledger_entries_of_account on ledger_entries (account_id, at, entry_id) include (asset);
create index strategy_positions_by_quote on strategy_positions (quote, position_id);
create index strategy_positions_by_strategy on strategy_positions (strategy_account_id, position_id) include (quote);
create index account_balances_by_asset on account_balances (asset, account_id, market_type);

-- In place of those that end before the id of the row.
drop index trade_executions_account, trade_executions_strategy_account, orders_strategy_account_id, strategy_positions_account_id;
create index trade_executions_account on trade_executions (account_id, executed_at, execution_id) include (quote);
create index trade_executions_strategy_account on trade_executions (strategy_account_id, executed_at, execution_id)
  include (quote);
create index orders_strategy_account_id on orders (strategy_account_id, created_at, order_id) include (quote);
create index strategy_positions_account_id on strategy_positions (holder_account_id, position_id) include (quote);
