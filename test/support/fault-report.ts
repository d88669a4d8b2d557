import postgres from 'postgres'
import type { Test } from 'tap'
import type { Probed } from './prober.ts'
import type { LogLine, Service } from './service.ts'

/** pino's level of messages about the end of the process. */
const FATAL = 60
/** Logged by the main thread about an uncaught error in the probe thread. */
const PROBE_THREAD_MESSAGES = ['probe thread failed', 'probe thread ended']

/** The number of probes that a failed assertion shows. */
const SHOWN_PROBES = 5

/** The part of failed probes that an assertion shows. Empty when there are none. */
export function shown(broken: readonly Probed[]): Partial<Probed>[] {
  return broken
    .slice(0, SHOWN_PROBES)
    .map(({ url, sentMs, tookMs, status, body }) => ({ url, sentMs, tookMs, status, body }))
}

/** The time of the slowest probe, in whole milliseconds; 0 without probes. */
export function worstMs(results: readonly Probed[]): number {
  return Math.round(results.reduce((worst, { tookMs }) => Math.max(worst, tookMs), 0))
}

/** The log lines about uncaught errors, in either thread. */
function uncaughtErrors(log: readonly LogLine[]): LogLine[] {
  return log.filter(({ level, msg }) => level >= FATAL || PROBE_THREAD_MESSAGES.includes(msg))
}

/** The runs that ended without success, counted by their outcome. */
async function interruptedRuns(databaseUrl: string): Promise<Record<string, number>> {
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

export interface FaultCase {
  service: Service
  /** The probes of the service. */
  results: readonly Probed[]
  /** The probes of a control server at the same time. */
  control: readonly Probed[]
  /** An address of the database without faults. */
  databaseUrl: string
}

/**
 * Asserts that the process runs and has logged no uncaught error, and prints the values of the case as a comment: the
 * worst probe of the service and of the control server, uncaught errors, interrupted runs.
 */
export async function reportFault(t: Test, { service, results, control, databaseUrl }: FaultCase): Promise<void> {
  const uncaught = uncaughtErrors(service.log)
  t.strictSame(uncaught, [], 'no uncaught error')
  t.strictSame([service.child.exitCode, service.child.signalCode], [null, null], 'the process runs')
  const worst = `worst probe ${worstMs(results)} ms (of the control server ${worstMs(control)} ms)`
  const runs = JSON.stringify(await interruptedRuns(databaseUrl))
  t.comment(`${worst}, uncaught errors ${uncaught.length}, interrupted runs ${runs}`)
}
