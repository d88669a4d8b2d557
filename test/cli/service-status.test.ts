import t from 'tap'
import { statusPage } from '../../src/cli/service-status.ts'

const job = {
  id: 'update_open_orders',
  next_run_time: '2026-11-24T00:00:29.000Z',
  paused: false,
  overdue: false,
  last_run: { outcome: 'succeeded', started_at: '2026-11-24T00:00:00.000Z', duration_ms: 812 }
}

t.test('the page shows replicas, checks, jobs and caches in columns', async t => {
  const page = statusPage({
    health: {
      instance: 'one',
      version: '1.2.3',
      timestamp: '2026-11-24T00:00:01.000Z',
      draining: false,
      checks: [
        { name: 'database', status: 'failed', code: 'database_timeout', latency_ms: 400, age_ms: 12, since: null }
      ],
      replicas: [{ instance: 'one', version: '1.2.3', last_seen_at: '2026-11-24T00:00:00.000Z', draining: false }]
    },
    scheduler: { scheduler_running: true, status: { jobs: [job, { ...job, id: 'housekeeping', paused: true }] } },
    caches: {
      cache_stats: { total_cached_clients: 5, expired_clients: 1 },
      price_cache: { entries: 4211, hit_rate: 0.99 }
    },
    quiet: { success: true, quiet: null }
  })
  t.notMatch(page, /^notifications/m)
  t.match(page, /^one {2}version 1\.2\.3 {2}2026-11-24T00:00:01\.000Z\n/)
  t.match(page, /^ {2}database {2}failed {2}database_timeout {2}400 +12 +-$/m)
  t.match(page, /^ {2}update_open_orders {2}2026-11-24T00:00:29\.000Z {2}succeeded +.* 812 +false$/m)
  t.match(page, /^ {2}housekeeping +paused +succeeded/m)
  t.match(page, /^ {2}prices +4211 +- +0\.99$/m)
})

t.test('a stopped scheduler is shown with who stopped it, until when and why', async t => {
  const stopped = { by: 'ada', resumes_at: null, reason: 'deploy' }
  const scheduler = { scheduler_running: false, status: { stopped, jobs: [] } }
  t.match(statusPage({ health: {}, scheduler, caches: {}, quiet: {} }), /^jobs: stopped by ada, until -: deploy$/m)
})

t.test('a quiet window is shown with who set it, until when and why', async t => {
  const quiet = { success: true, quiet: { by: 'ada', until: '2026-11-24T01:00:00.000Z', reason: 'deploy' } }
  const page = statusPage({ health: {}, scheduler: {}, caches: {}, quiet })
  t.match(page, /^notifications: suppressed by ada, until 2026-11-24T01:00:00\.000Z: deploy$/m)
})

t.test('a missing value is shown as a dash, and control characters are removed', async t => {
  const page = statusPage({ health: { instance: 'a\u001b[2J\nb' }, scheduler: null, caches: 'nonsense', quiet: 7 })
  t.match(page, /^a \[2J b {2}version - /)
  t.notOk(page.includes('\u001b'))
})
