/**
 * The order in which every transaction of this service takes its locks, so that no two transactions wait for each other.
 * Earlier entries are locked first. Tables of one entry are locked in any order, under the lock that `guard` names: all
 * that writes to them takes it first. A test compares this list with the schema, and the statements of all jobs and admin
 * actions with this list.
 *
 * The reasons for the order:
 * - Advisory locks come first: they serialise whole transactions (migrations, the numbers of cache commands, alerts).
 * - `telegram_polling`, `telegram_updates`, `telegram_confirmations`: a command is claimed before what it changes.
 * - `scheduler_state`, `scheduled_jobs`, `job_runs`: a claim reads whether the scheduler runs, takes the job, and then
 *   inserts the run. Inserts into `job_runs` also wait for uncommitted rows of its unique indexes. The end of a run and
 *   all controls follow the claim.
 * - `job_runs` comes before everything that jobs write: a transaction of a job begins with the row of its run.
 * - Among the tables of users, accounts and trading, owners come before what they own.
 * - `outbox` and `audit_log` come last: their rows are written in the same transaction as the change that they report. An insert into
 *   `audit_log` alone may come earlier, where it keeps a lock that others want from being held longer: its key is a new
 *   number, so that it waits for nothing and nothing waits for it. The same holds for an insert into `orders` without
 *   `exchange_order_id`: the orders of an adjustment depend on the positions, which are locked first.
 * - The commit of a transaction with a NOTIFY takes one more lock, after all others.
 * - Migrations lock whole tables in the order of their statements. A deadlock with a replica of the version before, during
 *   a roll-out, is repeated like every other deadlock.
 *
 * Further rules:
 * - Several rows of one table are locked in the order of their key (`select … order by … for no key update`, then the
 *   update), or with `skip locked`, which never waits, or under the lock of one row that all take first: the row of the
 *   user for `sessions` and `sign_in_networks`, the row of the run for what one job writes, the row of the order for `trade_executions`.
 * - The parts of one statement run in no fixed order. Where two of them lock, the later reads the result of the earlier.
 * - Rows that foreign keys refer to are locked `for no key update`, never `for update`, unless `skip locked`: an insert
 *   takes a key share lock on each row that it refers to, at the end of its statement and in no order. Key share locks
 *   and no key updates do not wait for each other. Referenced rows are deleted by `skip locked` sweeps alone.
 * - A lock that many transactions want is held for no more network round trips than necessary: on a distant database the
 *   time of one round trip is the time for which all others wait.
 */
export const LOCK_ORDER: readonly LockStep[] = [
  { tables: ['schema_version'], guard: 'the advisory lock of migrations' },
  { tables: ['telegram_polling'] },
  { tables: ['telegram_updates'] },
  { tables: ['telegram_confirmations'] },
  { tables: ['scheduler_state'] },
  { tables: ['scheduled_jobs'] },
  { tables: ['job_runs'] },
  { tables: ['users'] },
  { tables: ['sessions'] },
  { tables: ['api_tokens'] },
  { tables: ['sign_in_networks'] },
  { tables: ['sign_in_limits'] },
  { tables: ['accounts'] },
  { tables: ['account_failures'], guard: 'the run of the job' },
  { tables: ['strategies'] },
  { tables: ['strategy_accounts'] },
  { tables: ['strategy_capital'] },
  { tables: ['position_adjustments'] },
  { tables: ['orders'] },
  { tables: ['strategy_positions'] },
  { tables: ['trade_executions'] },
  { tables: ['replaced_executions'] },
  {
    tables: ['account_balances', 'account_balance_history', 'balance_readings', 'equity_history'],
    guard: 'the run of sync_account_balances'
  },
  { tables: ['ledger_entries'] },
  { tables: ['ledger_readings'] },
  { tables: ['funding_shares'] },
  { tables: ['funding_progress'] },
  { tables: ['fill_readings', 'fill_symbols'], guard: 'the run of sync_exchange_ledger' },
  { tables: ['book_totals'] },
  { tables: ['book_checks'], guard: 'the run of reconcile_books' },
  { tables: ['book_differences'] },
  { tables: ['daily_account_summaries'] },
  { tables: ['strategy_performance', 'performance_progress'], guard: 'the run of calculate_daily_performance' },
  { tables: ['instruments'] },
  { tables: ['cache_commands'] },
  { tables: ['cache_command_results'] },
  { tables: ['alerts', 'alert_progress'], guard: 'the advisory lock of alerts' },
  { tables: ['replicas'] },
  { tables: ['exchange_bans'] },
  { tables: ['invalid_rows'] },
  { tables: ['health_periods'] },
  { tables: ['heartbeat'] },
  { tables: ['quiet_window'] },
  { tables: ['quiet_notices'], guard: 'the row of quiet_window' },
  { tables: ['outbox'] },
  { tables: ['audit_log'] }
]

/** One place in the order. */
export interface LockStep {
  readonly tables: readonly string[]
  /** What is locked before any table of this step; only where several transactions could lock them in different orders. */
  readonly guard?: string
}
