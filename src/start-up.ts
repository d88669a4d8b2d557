import type { Database } from './database/database.ts'
import { migrate } from './database/migrate.ts'
import type { SharedState } from './health/state.ts'
import type { Log } from './log/log.ts'

const RETRY_MIN_MS = 250
const RETRY_MAX_MS = 1_000

/**
 * Brings the replica from listening to started: waits for the database, migrates, and says so in the shared state.
 * The further steps must be idempotent: all is tried until it works or is aborted; a failure is logged when it is new. Never rejects.
 */
export async function startUp(
  { database, state, log, steps }: { database: Database; state: SharedState; log: Log; steps: (() => Promise<void>)[] },
  signal: AbortSignal
): Promise<void> {
  const aborted = once(signal)
  // Until then there is nothing to try: the embedded server is still starting.
  await Promise.race([database.address, aborted])
  let lastFailure: string | undefined
  for (let retryMs = RETRY_MIN_MS; !signal.aborted; retryMs = Math.min(retryMs * 2, RETRY_MAX_MS)) {
    try {
      const applied = await migrate(database)
      log.info({ applied }, 'schema up to date')
      state.setMigrated()
      for (const step of steps) await step()
      state.setStarted()
      return
    } catch (err) {
      const failure = err instanceof Error ? err.message : String(err)
      if (failure !== lastFailure) log.warn({ err }, 'start-up step failed, retrying')
      lastFailure = failure
    }
    await pause(retryMs, aborted)
  }
}

/** Waits, or less when aborted. */
async function pause(ms: number, aborted: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const passed = new Promise(resolve => {
    timer = setTimeout(resolve, ms)
  })
  await Promise.race([passed, aborted])
  clearTimeout(timer)
}

function once(signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
