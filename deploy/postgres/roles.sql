-- Four roles: trading_owner owns the tables and migrates them, trading_service runs the service and cannot change the
-- schema, trading_entry is the order-entry side, and trading_reader is for reports. docs/deployment.md, "Roles of the
-- database", has the commands; docs/order-entry.md describes the last two.
--
-- Run it with psql in the database of the service, as a superuser or as the administrator of a managed Postgres: once
-- before the first migration, and again after each migration, for the rights on new tables. It may be repeated.
\set ON_ERROR_STOP on
\set QUIET on
set client_min_messages = warning;
begin;

-- They have no password yet: set one with \password, so that it is in no file, log or list of processes.
do $$
begin
  if to_regrole('trading_owner') is null then create role trading_owner login; end if;
  if to_regrole('trading_service') is null then create role trading_service login; end if;
  if to_regrole('trading_entry') is null then create role trading_entry login; end if;
  if to_regrole('trading_reader') is null then create role trading_reader login; end if;
  -- An administrator who is no superuser grants rights on the tables as a member of their owner.
  if not pg_has_role('trading_owner', 'member') then execute format('grant trading_owner to %I', current_user); end if;
end
$$;

-- Before Postgres 15 every role may create tables in the schema public.
revoke create on schema public from public;
grant usage, create on schema public to trading_owner;
grant usage on schema public to trading_service, trading_entry, trading_reader;

select to_regprocedure('public.end_unsent_order(bigint,text,text)') is not null as is_migrated \gset
\if :is_migrated
set local role trading_owner;

-- Rights that an earlier version of this file granted, and this one does not, end.
-- So does every right on columns. A new table grants nothing to any of them.
revoke all on all tables in schema public from trading_service, trading_entry, trading_reader;
revoke all on function
  count_audited_attempts(bigint, integer, interval),
  delete_old_audit_rows(integer),
  end_unsent_order(bigint, text, text)
from trading_service, trading_entry, trading_reader;

grant select on schema_version, strategies, strategy_accounts, strategy_capital to trading_service;

grant select, update on scheduler_state, heartbeat to trading_service;

grant select, insert, update on
  scheduled_jobs,
  users,
  accounts,
  instruments,
  orders,
  strategy_positions,
  account_balances,
  account_balance_history,
  balance_readings,
  equity_history,
  ledger_entries,
  ledger_readings,
  funding_shares,
  funding_progress,
  fill_readings,
  fill_symbols,
  book_totals,
  book_checks,
  daily_account_summaries,
  strategy_performance,
  performance_progress,
  cache_command_results,
  alert_progress,
  telegram_polling
to trading_service;

-- Housekeeping and ends: old runs, sessions, tokens, counters, commands, conditions that are over, replicas, messages, replaced
-- executions.
grant select, insert, update, delete on
  account_failures,
  api_tokens,
  job_runs,
  sessions,
  sign_in_limits,
  sign_in_networks,
  cache_commands,
  alerts,
  replicas,
  health_periods,
  exchange_bans,
  invalid_rows,
  book_differences,
  trade_executions,
  replaced_executions,
  quiet_window,
  quiet_notices,
  outbox,
  telegram_updates,
  telegram_confirmations
to trading_service;

-- Rows are added, and never changed or deleted, but by these functions: the first raises the number of attempts of a
-- row that counts rejected sign-ins, the second deletes rows older than 400 days.
grant select, insert on audit_log to trading_service;
-- Adjustments of positions are never changed or deleted.
grant select, insert on position_adjustments to trading_service;
grant execute on function
  count_audited_attempts(bigint, integer, interval),
  delete_old_audit_rows(integer)
to trading_service;

-- The order-entry side and reports read what is traded: no keys of accounts, no passwords, no sessions.
grant select on
  strategies,
  strategy_accounts,
  strategy_capital,
  orders,
  trade_executions,
  replaced_executions,
  strategy_positions,
  account_balances,
  account_balance_history,
  ledger_entries,
  ledger_readings,
  funding_shares,
  instruments
to trading_entry, trading_reader;
grant select (
  account_id, user_id, name, exchange, is_testnet, is_active, state, created_at, updated_at, valuation_currency
) on accounts to trading_entry, trading_reader;
grant select (user_id, username, is_active) on users to trading_entry, trading_reader;

grant select on
  balance_readings,
  equity_history,
  book_totals,
  book_checks,
  book_differences,
  position_adjustments,
  daily_account_summaries,
  strategy_performance
to trading_reader;

-- The order-entry side inserts what is its own. State, filled quantity and origin of an order are not, and neither is
-- the history of capital, which a trigger writes. An order that never reached its exchange ends by the function.
grant insert (user_id, name, market_type, is_active), update (name, is_active) on strategies to trading_entry;
grant
  insert (strategy_id, account_id, allocated_capital, capital_currency, is_active),
  update (allocated_capital, capital_currency, is_active)
on strategy_accounts to trading_entry;
grant
  insert (
    strategy_account_id, account_id, market_type, exchange_order_id, symbol, exchange_symbol, base, quote, side,
    position_side, order_type, price, stop_price, quantity, created_at
  ),
  update (exchange_order_id)
on orders to trading_entry;
grant execute on function end_unsent_order(bigint, text, text) to trading_entry;

reset role;
commit;
\echo 'trading_service may use the tables.'
\else
commit;
\echo 'The roles exist. Set their passwords, migrate as trading_owner, and run this file again.'
\endif
