// @FEAT:health-monitoring @COMP:service @TYPE:helper
import { cell, table } from './table.ts'

const DEADLINE_MS = 5_000

/** What `status` shows: the answers of four routes. */
export interface StatusAnswers {
  health: unknown
  scheduler: unknown
  caches: unknown
  quiet: unknown
}

/**
 * Asks a running service how it is, as an admin: signs in, reads, and signs out again.
 * @param base https, or an address of this machine: the password goes there
 * @throws {Error} with a sentence for the operator when the service cannot be reached or refuses
 */
export async function readStatus(base: URL, username: string, password: string): Promise<StatusAnswers> {
  const signedIn = await ask(base, '/api/auth/login', { body: JSON.stringify({ username, password }) })
  const cookie = signedIn.headers.getSetCookie()[0]?.split(';')[0] ?? ''
  try {
    const [health, scheduler, caches, quiet] = await Promise.all(
      ['health/details', 'scheduler-status', 'cache-stats', 'quiet'].map(async route => {
        const answer: unknown = await (await ask(base, `/api/system/${route}`, { cookie })).json()
        return answer
      })
    )
    return { health, scheduler, caches, quiet }
  } finally {
    await ask(base, '/api/auth/logout', { cookie, body: '{}' })
  }
}

async function ask(base: URL, path: string, { cookie = '', body }: { cookie?: string; body?: string }) {
  const response = await fetch(new URL(path, base), {
    method: body === undefined ? 'GET' : 'POST',
    headers: { 'accept-language': 'en', cookie, ...(body !== undefined && { 'content-type': 'application/json' }) },
    ...(body !== undefined && { body }),
    redirect: 'error',
    signal: AbortSignal.timeout(DEADLINE_MS)
  }).catch((cause: unknown) => {
    throw new Error(`${base.origin} does not answer`, { cause })
  })
  if (response.ok) return response
  const answer: unknown = await response.json().catch(() => undefined)
  throw new Error(`${base.origin}${path} answers ${response.status}: ${cell(at(answer, 'error'))}`)
}

/** The answers as a page for a terminal. A value that an answer lacks is a dash. */
export function statusPage({ health, scheduler, caches, quiet }: StatusAnswers): string {
  return [
    `${cell(at(health, 'instance'))}  version ${cell(at(health, 'version'))}  ${cell(at(health, 'timestamp'))}${at(health, 'draining') === true ? '  draining' : ''}`,
    ...quietLine(at(quiet, 'quiet')),
    section('replicas', rows(at(health, 'replicas')), ['instance', 'version', 'last_seen_at', 'draining']),
    section('checks', rows(at(health, 'checks')), ['name', 'status', 'code', 'latency_ms', 'age_ms', 'since']),
    section(jobsTitle(scheduler), jobRows(scheduler), [
      'job',
      'next_run',
      'last_outcome',
      'last_started',
      'duration_ms',
      'overdue'
    ]),
    section('caches', cacheRows(caches), ['cache', 'entries', 'expired', 'hit_rate'])
  ].join('\n\n')
}

/** Without a quiet window, no line. */
function quietLine(quiet: unknown): string[] {
  if (at(quiet, 'until') === undefined) return []
  return [
    `notifications: suppressed by ${cell(at(quiet, 'by'))}, until ${cell(at(quiet, 'until'))}: ${cell(at(quiet, 'reason'))}`
  ]
}

function jobsTitle(scheduler: unknown): string {
  if (at(scheduler, 'scheduler_running') === true) return 'jobs'
  const stopped = at(at(scheduler, 'status'), 'stopped')
  return `jobs: stopped by ${cell(at(stopped, 'by'))}, until ${cell(at(stopped, 'resumes_at'))}: ${cell(at(stopped, 'reason'))}`
}

function jobRows(scheduler: unknown): unknown[] {
  return rows(at(at(scheduler, 'status'), 'jobs')).map(job => ({
    job: at(job, 'id'),
    next_run: at(job, 'paused') === true ? 'paused' : at(job, 'next_run_time'),
    last_outcome: at(at(job, 'last_run'), 'outcome'),
    last_started: at(at(job, 'last_run'), 'started_at'),
    duration_ms: at(at(job, 'last_run'), 'duration_ms'),
    overdue: at(job, 'overdue')
  }))
}

function cacheRows(caches: unknown): unknown[] {
  const clients = at(caches, 'cache_stats')
  const prices = at(caches, 'price_cache')
  return [
    {
      cache: 'prices',
      entries: at(prices, 'entries'),
      expired: at(prices, 'expired'),
      hit_rate: at(prices, 'hit_rate')
    },
    { cache: 'clients', entries: at(clients, 'total_cached_clients'), expired: at(clients, 'expired_clients') }
  ]
}

function section(title: string, items: readonly unknown[], columns: readonly string[]): string {
  const lines = table(
    columns,
    items.map(item => columns.map(column => at(item, column)))
  )
  return `${title}\n${lines.replace(/^/gm, '  ')}`
}

function at(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null
    ? Object.entries(value).find(([name]) => name === key)?.[1]
    : undefined
}

function rows(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}
