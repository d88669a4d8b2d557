-- Pages of performance, summaries and equity, the newest first: of all, of one account or strategy, and both in one
-- currency. A page reads one of these indexes from its cursor on, and no row before it. The primary keys are those of one
-- account or strategy.
create index strategies_user_id on strategies (user_id);
create index strategy_performance_by_date on strategy_performance (date, strategy_id, currency, is_testnet);
create index strategy_performance_by_currency on strategy_performance (currency, date, strategy_id, is_testnet);
create index strategy_performance_of_currency on strategy_performance (strategy_id, currency, date, is_testnet);

drop index daily_account_summaries_date;
create index daily_account_summaries_date on daily_account_summaries (date, account_id, currency);
create index daily_account_summaries_by_currency on daily_account_summaries (currency, date, account_id);
create index daily_account_summaries_of_currency on daily_account_summaries (account_id, currency, date);

create index equity_history_by_time on equity_history (at, account_id);
create index equity_history_by_currency on equity_history (currency, at, account_id);
create index equity_history_of_currency on equity_history (account_id, currency, at);
