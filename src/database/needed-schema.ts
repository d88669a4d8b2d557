/**
 * The columns that the statements of this version use, by table: all of the schema after the migrations of this version.
 * A test compares the list with the migrated schema.
 */
export const NEEDED_COLUMNS: Readonly<Record<string, string>> = {
  account_balance_history: 'account_id at currency total',
  account_balances: 'account_id asset free locked market_type synced_at total',
  accounts:
    'account_id api_key_encrypted api_secret_encrypted created_at exchange is_active is_testnet key_id name passphrase_encrypted state updated_at user_id',
  alert_progress: 'job_id seq',
  alerts: 'condition key updated_at',
  audit_log: 'action actor address at audit_id details outcome request_id target',
  cache_command_results: 'command_id exchange instance_id price',
  cache_commands: 'actor at command_id filter',
  daily_account_summaries:
    'account_id computed_at currency date end_balance fees fees_unknown is_final losses max_drawdown realized_pnl start_balance trades unrealized_pnl volume win_rate wins',
  health_periods: 'check_name code from_at instance is_over period_id until_at',
  job_runs:
    'actor error_code finished_at instance job_id lease_expires_at lease_token outcome progress_done progress_total result run_id scheduled_for seq skipped_count started_at trigger',
  orders:
    'account_id average_price created_at error_code exchange_order_id exchange_symbol fill_checks filled_quantity last_checked_at market_type misses order_id order_type position_side price quantity side status stop_price strategy_account_id symbol updated_at',
  outbox:
    'attempts chat_id created_at dedupe_key delivered_at error_code given_up_at leased_by leased_until message_id next_attempt_at text',
  performance_progress: 'is_only recorded_until',
  replicas:
    'cache_command_seen draining incarnation instance_id last_seen_at lost_at runs_jobs settings started_at version',
  scheduled_jobs: 'definition first_due_at job_id last_success_at next_fire_at paused paused_by paused_reason',
  scheduler_state: 'changed_at changed_by is_only reason resumes_at running',
  schema_version: 'md5 name run_at version',
  sessions: 'created_at data expires_at last_seen_at session_hash user_id',
  sign_in_limits: 'failures locked_until slot throttled_audit_id updated_at',
  strategies: 'created_at is_active market_type name strategy_id user_id',
  strategy_accounts: 'account_id allocated_capital capital_currency is_active strategy_account_id strategy_id',
  strategy_performance:
    'computed_at cumulative_pnl cumulative_return currency daily_pnl daily_return date executions_apart fees fees_unknown is_testnet max_drawdown sharpe sortino strategy_id trades volatility win_rate wins',
  strategy_positions:
    'currency entry_price fees mark_price marked_at market_type position_side quantity realized_pnl strategy_account_id symbol unrealized_pnl updated_at',
  trade_executions:
    'account_id currency entry_price_before exchange_trade_id executed_at execution_id fee fee_asset fee_value market_type order_id position_side price quantity quantity_before realized_pnl recorded_at side strategy_account_id symbol',
  users:
    'created_at is_active is_admin last_sign_in_at must_change_password password_hash telegram_chat_id user_id username'
}

const list = (texts: readonly string[]) => `array[${texts.map(text => `'${text}'`).join(', ')}]`

/**
 * SQL expression: the first table or column that this version needs and that is missing, as a sentence; null when none
 * is. It reads catalogues only, so it waits for no lock on a table.
 */
export const SCHEMA_DIFFERENCE = `(
  select case when relation is null then format('table %s is missing', name)
    else format('column %s of table %s is missing', column_name, name) end
  from unnest(${list(Object.keys(NEEDED_COLUMNS))}, ${list(Object.values(NEEDED_COLUMNS))}) as needed (name, columns)
  cross join lateral to_regclass(name) as relation
  cross join lateral unnest(string_to_array(columns, ' ')) as column_name
  where not exists (
    select from pg_catalog.pg_attribute
    where attrelid = relation and attname = column_name and attnum > 0 and not attisdropped
  )
  order by relation is not null, name, column_name limit 1
)`
