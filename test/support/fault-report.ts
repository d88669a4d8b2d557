import postgres from 'postgres'
import type { Test } from 'tap'
import type { Probed, Prober } from './prober.ts'
import type { LogLine, Service } from './service.ts'

/** pino's level of messages that announce the end of the process. */
const FATAL = 60
/** Logged by the main thread about an uncaught error in the probe thread. */
const PROBE_THREAD_MESSAGES = ['probe thread failed', 'probe thread ended']

/** An assertion that fails shows so many probes, not thousands. */
const SHOWN_PROBES = 5

/** What an assertion shows of probes that broke a promise. Empty where none did. */
export function shown(broken: readonly Probed[]): Partial<Probed>[] {
  return broken
    .slice(0, SHOWN_PROBES)
    .map(({ url, sentMs, tookMs, status, body }) => ({ url, sentMs, tookMs, status, body }))
}

/** The log lines that show an error which no code handled, in either thread. */
export function uncaughtErrors(log: readonly LogLine[]): LogLine[] {
  return log.filter(({ level, msg }) => level >= FATAL || PROBE_THREAD_MESSAGES.includes(msg))
}

/** The runs that ended without success, counted by their outcome. */
export async function interruptedRuns(databaseUrl: string): Promise<Record<string, number>> {
  const sql = postgres(databaseUrl, { max: 1, fetch_types: false, onnotice: () => undefined })
  try {
    const rows = await sql<{ outcome: string; count: number }[]>`
      select outcome, count(*)::int as count from job_runs where outcome not in ('running', 'succeeded', 'skipped')
      group by outcome order by outcome`
    return Object.fromEntries(rows.map(({ outcome, count }) => [outcome, count]))
  } finally {
    await sql.end({ timeout: 1 })
  }
}

/**
 * Asserts that the process runs and has logged no uncaught error, and comments the figures of the case: the worst
 * probe, uncaught errors, interrupted runs. A worst probe counts only where the test itself was not held up as long.
 * @param databaseUrl an address without faults
 */
export async function reportFault(
  t: Test,
  { service, prober, databaseUrl }: { service: Service; prober: Prober; databaseUrl: string }
): Promise<void> {
  const uncaught = uncaughtErrors(service.log)
  t.strictSame(uncaught, [], 'no uncaught error')
  t.strictSame([service.child.exitCode, service.child.signalCode], [null, null], 'the process runs')
  const worstMs = Math.round(Math.max(...prober.results.map(({ tookMs }) => tookMs)))
  const runs = JSON.stringify(await interruptedRuns(databaseUrl))
  t.comment(`worst probe ${worstMs} ms, uncaught errors ${uncaught.length}, interrupted runs ${runs}`)
  t.comment(`probes were sent up to ${Math.round(prober.worstDelayMs)} ms late`)
}
