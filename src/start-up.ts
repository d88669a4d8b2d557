import { unlessAborted } from './async/abort.ts'
import { backOffMs } from './async/back-off.ts'
import { sleep, systemTimers, type Timers } from './async/timers.ts'
import { ConfigError } from './config.ts'
import type { Database } from './database/database.ts'
import { DatabaseUnavailableError } from './database/failure.ts'
import { migrate } from './database/migrate.ts'
import { assertSchema, SchemaError } from './database/schema.ts'
import type { SharedState } from './health/shared-state.ts'
import type { Log } from './log/log.ts'
import { StartError } from './start-error.ts'

const RETRY = { minMs: 250, maxMs: 1_000 }

/** The steps of the start-up, in this order, and what the log line of each reports. */
export const START_UP_STEPS = [
  /** Compares the settings of the database session with what this version needs. Reports those that differ. */
  'session_settings',
  /** Verifies a generated encryption key, and keeps a new one. Reports whether its `file` was kept, missing or garbled. */
  'encryption_key',
  /** Applies the pending migrations. Reports the names of those that it `applied`. */
  'schema',
  /** Starts the heartbeat of this replica. Reports its `version`. */
  'replica',
  /** Applies the stored bans of the exchanges, before the first call. Reports the number of those that `apply`. */
  'exchange_bans',
  /** Starts to write the health history. */
  'health_history',
  /** Verifies that PostgreSQL begins the days of `TIME_ZONE` when Node.js does. */
  'time_zone',
  /** Starts the scheduler. Reports the number of its `jobs`, and whether it is `enabled` on this replica. */
  'scheduler',
  /** Starts to read the number of book differences. Reports the name of their `check`. */
  'books',
  /** Starts to apply the commands that clear caches. */
  'cache_commands',
  /** Reads the prices of the markets in use. */
  'price_warm_up',
  /** Starts the sender of the outbox. */
  'outbox',
  /** Starts the sender of the webhook. */
  'webhook',
  /** Starts to read the commands of the Telegram bot. Reports whether there is an operator's `chat`. */
  'telegram_commands',
  /** Starts the evaluation of alerts. Reports the number of `jobs` that it watches. */
  'alerts',
  /** Starts to send heartbeats. Reports whether this replica is `enabled` to run scheduled jobs. */
  'heartbeat',
  /** Starts to compare the needs of the accounts with the rate limits of the exchanges. */
  'exchange_budgets',
  /** Creates the first admin where there is no user. Reports whether it was `created`. */
  'first_admin'
] as const

type StartUpStep = (typeof START_UP_STEPS)[number]

/**
 * The functions of the steps that this replica has; the others are skipped. A function is idempotent: it is called
 * until it succeeds. It returns what the log line of the step reports.
 */
export type StartUpSteps = Partial<Record<StartUpStep, () => Promise<Record<string, unknown> | undefined>>>

/** @param options.timers default `systemTimers` */
export interface StartUpOptions {
  database: Database
  state: SharedState
  log: Log
  /** All steps but `schema`. */
  steps: Omit<StartUpSteps, 'schema'>
  timers?: Timers
}

/**
 * Takes the replica from listening to started: waits for the database's address and does the steps one after the other.
 * A step that fails is tried again until it succeeds; its failure is logged once per reason. Ends early, without
 * started, when `signal` is aborted.
 * @throws {ConfigError} when a step finds a setting that no later attempt can accept
 * @throws {StartError} when a step finds another reason that no later attempt removes
 */
export async function startUp(options: StartUpOptions, signal: AbortSignal): Promise<void> {
  const { database, state, log } = options
  const schema = () => prepareSchema(options)
  const steps: StartUpSteps = { ...options.steps, schema }
  try {
    // The embedded server has no address until it has started.
    await unlessAborted(database.address, signal)
    for (const name of START_UP_STEPS) await untilDone(name, steps[name], options, signal)
    state.setStarted()
  } catch (err) {
    if (signal.aborted) return
    if (isFinal(err)) throw err
    log.error({ err }, 'start-up failed')
  }
}

/**
 * Applies the migrations, and compares the schema with what this version needs. While it does not fit, the replica is not
 * ready, and runs no job: the scheduler starts after this step.
 * @throws {SchemaError} with the first difference
 * @throws {DatabaseUnavailableError}
 */
async function prepareSchema({ database, state, log }: StartUpOptions): Promise<Record<string, unknown>> {
  try {
    const applied = await migrate(database)
    await assertSchema(database)
    state.setIncompatible(false)
    state.setMigrated()
    log.info({ applied }, 'schema up to date')
    return { applied }
  } catch (err) {
    // A migration fails, too, where a table of an earlier one is missing.
    const isMissing = err instanceof DatabaseUnavailableError && err.code === 'schema_incompatible'
    if (isMissing || err instanceof SchemaError) state.setIncompatible(true)
    throw err
  }
}

/**
 * @throws the reason of `signal` as soon as that is aborted and the running attempt has ended
 * @throws {ConfigError}
 * @throws {StartError}
 */
async function untilDone(
  step: StartUpStep,
  run: StartUpSteps[StartUpStep],
  { log, timers = systemTimers }: StartUpOptions,
  signal: AbortSignal
): Promise<void> {
  if (!run) return
  let lastFailure: string | undefined
  for (let attempt = 1; ; attempt++) {
    signal.throwIfAborted()
    const startMs = timers.now()
    try {
      const report = await run()
      log.info({ step, duration_ms: Math.round(timers.now() - startMs), ...report }, 'start-up step done')
      return
    } catch (err) {
      if (isFinal(err)) throw err
      const failure = err instanceof Error ? err.message : String(err)
      if (failure !== lastFailure) log.warn({ err, step }, 'start-up step failed, retrying')
      lastFailure = failure
    }
    await sleep(timers, backOffMs(RETRY, attempt), signal)
  }
}

/** Whether a step that fails with this error is not tried again. */
function isFinal(err: unknown): boolean {
  return err instanceof ConfigError || err instanceof StartError
}
