import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { startApp, untilStatus } from '../../support/app.ts'
import { migratedDatabase } from '../../support/migrated-database.ts'
import { adminOf } from '../../support/session.ts'

const { url: databaseUrl } = await migratedDatabase(t)
const { app, url } = await startApp(
  t,
  { DATABASE_URL: databaseUrl, INSTANCE_ID: 'one', TIME_ZONE: 'UTC' },
  { jobs: [] }
)
await untilStatus(`${url}/health/startup`, 200)
const admin = await adminOf(app)
const get = (query = '') => admin.send('GET', `/api/system/health/history${query}`)

interface History {
  from: string
  to: string
  time_zone: string
  incidents: { check: string; code: string; instance: string; from: string; until: string | null }[]
  has_more: boolean
  days: { date: string; ready_share: number | null }[]
}

t.test('the history has the incidents of the last week and a share for each day', async t => {
  await app.db.run(
    sql => sql`
      insert into health_periods (period_id, check_name, instance, code, from_at, until_at, is_over) values
        (gen_random_uuid(), 'readiness', 'two', 'database_unreachable', now() - interval '2 hours',
          now() - interval '1 hour', true)`
  )
  const { status, answer } = await get()
  t.equal(status, 200)
  const history = answer as unknown as History
  t.equal(Date.parse(history.to) - Date.parse(history.from), 7 * 86_400_000)
  t.strictSame([history.time_zone, history.has_more], ['UTC', false])
  const outage = history.incidents.find(({ instance }) => instance === 'two')
  t.strictSame([outage?.check, outage?.code], ['readiness', 'database_unreachable'])
  t.equal(Date.parse(outage?.until ?? '') - Date.parse(outage?.from ?? ''), 3_600_000)
  t.equal(history.days.length, 8)
  t.equal(history.days[0]?.ready_share, null, 'before the history begins')
})

t.test('a period that this replica recorded is in the history', async t => {
  const rest = { latency_ms: null, age_ms: null, since: null }
  let status: 'ok' | 'degraded' = 'degraded'
  app.healthChecks.push(() => ({ name: 'own', status, code: 'broken', ...rest }))
  let found: History['incidents'] = []
  while (found.length === 0) {
    await sleep(20)
    const { answer } = await get('?check=own')
    found = (answer as unknown as History).incidents
  }
  t.strictSame(
    found.map(({ check, code, instance, until }) => ({ check, code, instance, until })),
    [{ check: 'own', code: 'broken', instance: 'one', until: null }]
  )
  status = 'ok'
  while (found[0]?.until === null) {
    await sleep(20)
    const { answer } = await get('?check=own')
    found = (answer as unknown as History).incidents
  }
  t.equal(found.length, 1, 'the period has ended')
})

t.test('an invalid time is rejected', async t => {
  for (const query of [
    '?from=yesterday',
    '?from=2026-11-02T00:00:00Z&to=2026-11-01T00:00:00Z',
    '?from=2026-11-01T00:00:00Z&to=2026-11-01T00:00:00Z',
    '?from=2026-01-01T00:00:00Z&to=2026-11-01T00:00:00Z',
    '?check=a%20b',
    '?limit=1'
  ]) {
    t.hasStrict(await get(query), { status: 400, answer: { code: 'VALIDATION_FAILED' } }, query)
  }
})
