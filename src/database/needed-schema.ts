import { TOO_OLD_SERVICE } from './oldest-service.ts'

/**
 * The columns that the statements of this version use, by table, each with its type: all of the schema after the
 * migrations of this version. A test compares the list with the migrated schema.
 *
 * A type is `typname` of `pg_type`. It must be exactly this one, with no length or precision: an int8 becomes a text in
 * JavaScript where an int4 becomes a number, a float8 is no decimal number, and a numeric(10,2) rounds. Only varchar
 * without a length may replace text: both store and return the same.
 */
export const NEEDED_COLUMNS: Readonly<Record<string, string>> = {
  account_balance_history: 'account_id int8, at timestamptz, currency text, total numeric',
  account_balances:
    'account_id int8, asset text, free numeric, locked numeric, market_type text, synced_at timestamptz, total numeric',
  account_failures: 'account_id int8, error_code text, job_id text, since timestamptz',
  accounts:
    'account_id int8, api_key_encrypted bytea, api_secret_encrypted bytea, created_at timestamptz, exchange text, is_active bool, is_testnet bool, key_id text, name text, passphrase_encrypted bytea, state text, updated_at timestamptz, user_id int8, valuation_currency text',
  alert_progress: 'job_id text, seq int8',
  alerts: 'condition jsonb, key text, updated_at timestamptz',
  api_tokens:
    'created_at timestamptz, expires_at timestamptz, last_used_at timestamptz, name text, networks text, revoked_at timestamptz, role text, token_hash bytea, user_id int8',
  audit_log:
    'action text, actor text, address text, at timestamptz, audit_id int8, details jsonb, outcome text, request_id text, target text',
  balance_readings: 'account_id int8, attempted_at timestamptz, emptied jsonb, incomplete jsonb, read_at timestamptz',
  book_checks: 'account_id int8, attempted_at timestamptz, compared_at timestamptz, subject text',
  book_differences:
    'account_id int8, asset text, causes jsonb, difference numeric, difference_id int8, entry_price numeric, exchange_symbol text, explained_at timestamptz, explained_by text, last_checked_at timestamptz, mark_price numeric, market_type text, ours numeric, position_side text, read_at timestamptz, runs int4, since timestamptz, symbol text, theirs numeric, unexplained_at timestamptz, wallet text',
  book_totals: 'account_id int8, amount numeric, asset text, rounded int8, source text, wallet text',
  cache_command_results: 'command_id int8, exchange int4, instance_id text, price int4',
  cache_commands: 'actor text, at timestamptz, command_id int8, filter jsonb',
  daily_account_summaries:
    'account_id int8, balances_as_of timestamptz, computed_at timestamptz, currency text, date date, end_balance numeric, equity numeric, equity_gaps int4, equity_return numeric, equity_unvalued int4, executions int4, fees numeric, fees_unknown int4, funding numeric, interest numeric, is_final bool, losses int4, marks_as_of timestamptz, max_drawdown numeric, orders_as_of timestamptz, positions_old_mark int4, positions_unmarked int4, realized_pnl numeric, sent jsonb, sent_at timestamptz, start_balance numeric, trades int4, unrealized_pnl numeric, volume numeric, win_rate numeric, wins int4',
  equity_history:
    'account_id int8, at timestamptz, cash numeric, currency text, equity numeric, external_flow numeric, flow_at timestamptz, holdings numeric, unrealized_pnl numeric, unvalued jsonb',
  exchange_bans:
    'exchange text, exchange_code text, host text, reported_at timestamptz, reported_by text, until_at timestamptz',
  fill_readings:
    'account_id int8, attempted_at timestamptz, incomplete jsonb, market_type text, open_orders jsonb, opened_at timestamptz, opening jsonb, read_until timestamptz',
  fill_symbols: 'account_id int8, exchange_symbol text, is_followed bool, market_type text, read_until timestamptz',
  funding_progress: 'assigned_until timestamptz, is_only bool',
  funding_shares:
    'account_id int8, amount numeric, assigned_at timestamptz, at timestamptz, currency text, entry_id int8, position_side text, strategy_account_id int8, symbol text',
  health_periods:
    'check_name text, code text, from_at timestamptz, instance text, is_over bool, period_id uuid, until_at timestamptz',
  heartbeat: 'claimed_at timestamptz, claimed_by text, is_only bool, outcome text, reason text, sent_at timestamptz',
  instruments:
    'base text, contract_value numeric, exchange text, exchange_symbol text, market_type text, price_step numeric, quantity_step numeric, quote text, read_at timestamptz, symbol text, trading bool',
  invalid_rows:
    'account_id int8, excerpt text, exchange text, first_seen timestamptz, invalid_row_id int8, kind text, last_seen timestamptz, market_type text, operation text, reason text, times int8',
  job_runs:
    'actor text, error_code text, finished_at timestamptz, instance text, job_id text, lease_expires_at timestamptz, lease_token uuid, outcome text, progress_done int4, progress_total int4, result jsonb, run_id uuid, scheduled_for timestamptz, seq int8, skipped_count int4, started_at timestamptz, trigger text',
  ledger_entries:
    'account_id int8, amount numeric, asset text, at timestamptz, conflict jsonb, entry_id int8, exchange_entry_id text, exchange_kind text, kind text, recorded_at timestamptz, symbol text, wallet text',
  ledger_readings:
    'account_id int8, attempted_at timestamptz, incomplete jsonb, listed_until timestamptz, read_until timestamptz, wallet text',
  orders:
    'account_id int8, average_price numeric, base text, created_at timestamptz, error_code text, exchange_order_id text, exchange_symbol text, fill_checks int4, fill_retries int4, filled_quantity numeric, fills_due_at timestamptz, flagged_at timestamptz, is_mark_price bool, last_checked_at timestamptz, market_type text, mismatch text, mismatch_checks int4, misses int4, order_id int8, order_type text, origin text, position_side text, price numeric, quantity numeric, quote text, side text, status text, stop_price numeric, strategy_account_id int8, superseded_at timestamptz, symbol text, updated_at timestamptz',
  outbox:
    'attempts int4, chat_id text, created_at timestamptz, dedupe_key text, delivered_at timestamptz, destination text, error_code text, event jsonb, given_up_at timestamptz, leased_by text, leased_until timestamptz, message_id int8, next_attempt_at timestamptz, text text',
  performance_progress: 'is_only bool, recorded_until timestamptz',
  position_adjustments:
    'account_id int8, adjustment_id int8, amount numeric, at timestamptz, idempotency_key text, market_type text, position_side text, reason text, symbol text',
  quiet_notices: 'condition text, dedupe_key text, kind text, line text, notice_id int8, type text',
  quiet_window: 'is_only bool, reason text, set_by text, since timestamptz, until_at timestamptz',
  replaced_executions:
    'account_id int8, currency text, exchange_trade_id text, executed_at timestamptz, execution_id int8, fee_value numeric, order_id int8, price numeric, quantity numeric, realized_pnl numeric, replaced_at timestamptz, side text, strategy_account_id int8',
  replicas:
    'cache_command_seen int8, draining bool, incarnation uuid, instance_id text, last_seen_at timestamptz, lost_at timestamptz, runs_jobs bool, settings jsonb, started_at timestamptz, version text',
  scheduled_jobs:
    'definition text, first_due_at timestamptz, job_id text, last_partial_at timestamptz, last_success_at timestamptz, next_fire_at timestamptz, paused bool, paused_by text, paused_reason text',
  scheduler_state:
    'changed_at timestamptz, changed_by text, is_only bool, reason text, resumes_at timestamptz, running bool',
  schema_version: 'md5 text, name text, run_at timestamptz, version int8',
  sessions:
    'created_at timestamptz, data jsonb, expires_at timestamptz, last_seen_at timestamptz, session_hash bytea, user_id int8',
  sign_in_limits: 'failures int4, locked_until timestamptz, slot int4, throttled_audit_id int8, updated_at timestamptz',
  sign_in_networks: 'last_sign_in_at timestamptz, network_hash bytea, user_id int8',
  strategies: 'created_at timestamptz, is_active bool, market_type text, name text, strategy_id int8, user_id int8',
  strategy_accounts:
    'account_id int8, allocated_capital numeric, capital_currency text, is_active bool, strategy_account_id int8, strategy_id int8',
  strategy_capital: 'account_id int8, amount numeric, currency text, strategy_id int8, valid_from timestamptz',
  strategy_performance:
    'computed_at timestamptz, cumulative_pnl numeric, cumulative_return numeric, currency text, daily_pnl numeric, daily_return numeric, date date, executions int4, executions_apart int4, fees numeric, fees_unknown int4, funding numeric, is_testnet bool, max_drawdown numeric, sharpe numeric, sortino numeric, strategy_id int8, trades int4, volatility numeric, win_rate numeric, wins int4',
  strategy_positions:
    'base text, currency text, entry_price numeric, fees numeric, funding numeric, holder_account_id int8, mark_price numeric, marked_at timestamptz, market_type text, position_id int8, position_side text, quantity numeric, quote text, realized_pnl numeric, strategy_account_id int8, symbol text, unrealized_pnl numeric, updated_at timestamptz',
  telegram_confirmations:
    'action jsonb, chat_id text, confirmation_id int8, created_at timestamptz, decided_at timestamptz, expires_at timestamptz, message_id text, question text, result text, shown_at timestamptz, token_hash bytea, user_id text',
  telegram_polling:
    'bot_id text, error_code text, failing_since timestamptz, failures int4, last_poll_at timestamptz, last_update_at timestamptz, lease_token uuid, leased_by text, leased_until timestamptz, next_poll_at timestamptz, next_update_id int8',
  telegram_updates: 'bot_id text, chat_id text, handled_at timestamptz, outcome text, update_id int8',
  trade_executions:
    'account_id int8, base text, currency text, entry_price_before numeric, exchange_realized_pnl numeric, exchange_trade_id text, executed_at timestamptz, execution_id int8, fee numeric, fee_asset text, fee_value numeric, market_type text, order_id int8, position_side text, price numeric, quantity numeric, quantity_before numeric, quote text, realized_pnl numeric, recorded_at timestamptz, round_trip_opened_at timestamptz, round_trip_pnl numeric, side text, strategy_account_id int8, symbol text',
  users:
    'created_at timestamptz, is_active bool, is_admin bool, last_sign_in_at timestamptz, must_change_password bool, password_hash text, role text, telegram_chat_id text, user_id int8, username text'
}

const list = (texts: readonly string[]) => `array[${texts.map(text => `'${text}'`).join(', ')}]`

/** SQL expression: the type of a column, from its rows in pg_attribute and pg_type, with its length or precision. */
export const COLUMN_TYPE = `typname || coalesce(substring(format_type(atttypid, atttypmod) from '[(][0-9,]+[)]'), '')`

/**
 * The first table that is missing, then column that is missing, then column of another type. `limit 1` makes Postgres find
 * each column by an index: without it, it reads the columns of all tables of the database.
 */
const FIRST_DIFFERENCE = `
  select case when relation is null then format('table %s is missing', name)
    when found is null then format('column %s of table %s is missing', column_name, name)
    else format('column %s of table %s has the type %s, this version needs %s', column_name, name, found, wanted) end
  from unnest(${list(Object.keys(NEEDED_COLUMNS))}, ${list(Object.values(NEEDED_COLUMNS))}) as needed (name, columns)
  cross join lateral to_regclass(name) as relation
  cross join lateral unnest(string_to_array(columns, ', ')) as declared
  cross join lateral (select split_part(declared, ' ', 1), split_part(declared, ' ', 2)) as parts (column_name, wanted)
  left join lateral (
    select ${COLUMN_TYPE}
    from pg_catalog.pg_attribute join pg_catalog.pg_type on pg_type.oid = atttypid
    where attrelid = relation and attname = column_name and attnum > 0 and not attisdropped
    limit 1
  ) as actual (found) on true
  where found is distinct from wanted and not (wanted = 'text' and found is not distinct from 'varchar')
  order by relation is not null, found is not null, name, column_name limit 1`

/**
 * SQL expression: why this version cannot work on the schema, as a sentence: the schema is too new for it, or else the
 * first table or column that it needs and that is missing or of another type. Null where it can. It reads catalogues
 * only, so it waits for no lock on a table.
 */
export const SCHEMA_DIFFERENCE = `coalesce((${TOO_OLD_SERVICE}), (${FIRST_DIFFERENCE}))`
