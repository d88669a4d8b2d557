import type { Database } from './database/database.ts'
import { migrate } from './database/migrate.ts'
import type { SharedState } from './health/state.ts'
import type { Log } from './log.ts'

const RETRY_MIN_MS = 250
const RETRY_MAX_MS = 1_000

/**
 * Brings the replica from listening to started: waits for the database, migrates, and says so in the shared state.
 * Tries until it works or is aborted; a failure is logged when it is new. Never rejects.
 */
export async function startUp(
  { database, state, log }: { database: Database; state: SharedState; log: Log },
  signal: AbortSignal
): Promise<void> {
  let lastFailure: string | undefined
  for (let retryMs = RETRY_MIN_MS; !signal.aborted; retryMs = Math.min(retryMs * 2, RETRY_MAX_MS)) {
    try {
      const applied = await migrate(database)
      log.info({ applied }, 'schema up to date')
      state.setMigrated()
      state.setStarted()
      return
    } catch (err) {
      const failure = err instanceof Error ? err.message : String(err)
      if (failure !== lastFailure) log.warn({ err }, 'schema not up to date yet')
      lastFailure = failure
    }
    await pause(retryMs, signal)
  }
}

/** Waits, or less when aborted. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const timer = setTimeout(end, ms)
    signal.addEventListener('abort', end, { once: true })
    function end() {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
  })
}
