import postgres from 'postgres'
import type { Test } from 'tap'
import type { Probed } from './prober.ts'
import type { LogLine, Service } from './service.ts'

/** pino's level of messages that announce the end of the process. */
const FATAL = 60
/** Logged by the main thread about an uncaught error in the probe thread. */
const PROBE_THREAD_MESSAGES = ['probe thread failed', 'probe thread ended']

/** The log lines that show an error which no code handled, in either thread. */
export function uncaughtErrors(log: readonly LogLine[]): LogLine[] {
  return log.filter(({ level, msg }) => level >= FATAL || PROBE_THREAD_MESSAGES.includes(msg))
}

/** The runs that did not succeed, counted by their outcome. */
export async function interruptedRuns(databaseUrl: string): Promise<Record<string, number>> {
  const sql = postgres(databaseUrl, { max: 1, fetch_types: false, onnotice: () => undefined })
  try {
    const rows = await sql<{ outcome: string; count: number }[]>`
      select outcome, count(*)::int as count from job_runs where outcome not in ('succeeded', 'skipped')
      group by outcome order by outcome`
    return Object.fromEntries(rows.map(({ outcome, count }) => [outcome, count]))
  } finally {
    await sql.end({ timeout: 1 })
  }
}

/**
 * Asserts that the process runs and has logged no uncaught error, and comments the figures of the case: the worst
 * probe, uncaught errors, interrupted runs.
 * @param databaseUrl an address without faults
 */
export async function reportFault(
  t: Test,
  { service, results, databaseUrl }: { service: Service; results: readonly Probed[]; databaseUrl: string }
): Promise<void> {
  const uncaught = uncaughtErrors(service.log)
  t.strictSame(uncaught, [], 'no uncaught error')
  t.strictSame([service.child.exitCode, service.child.signalCode], [null, null], 'the process runs')
  const worstMs = Math.max(...results.map(({ tookMs }) => tookMs))
  const runs = JSON.stringify(await interruptedRuns(databaseUrl))
  t.comment(`worst probe ${Math.round(worstMs)} ms, uncaught errors ${uncaught.length}, interrupted runs ${runs}`)
}
