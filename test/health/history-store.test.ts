import { randomUUID } from 'node:crypto'
import t from 'tap'
import { MINUTE, SECOND } from '../../src/async/durations.ts'
import type { Database } from '../../src/database/database.ts'
import { HistoryStore, type PeriodRecord, READINESS, sweepHealthHistory } from '../../src/health/history-store.ts'
import { tradingDatabase } from '../support/trading.ts'

let database: Database
let store: HistoryStore
t.before(async () => {
  database = await tradingDatabase(t)
  store = new HistoryStore(database)
})

const period = (rest: Partial<PeriodRecord> = {}): PeriodRecord => ({
  periodId: randomUUID(),
  check: 'database',
  instance: 'one',
  code: 'database_unreachable',
  fromAgeMs: 60 * SECOND,
  untilAgeMs: 0,
  isOver: false,
  ...rest
})

const empty = () => database.run(sql => sql`delete from health_periods`)

/** Inserts periods of one check, with absolute times. */
async function insert(...rows: [instance: string, code: string | null, from: string, until: string, check?: string][]) {
  for (const [instance, code, from, until, check = READINESS] of rows) {
    await database.run(
      sql => sql`
        insert into health_periods (period_id, check_name, instance, code, from_at, until_at, is_over)
        values (${randomUUID()}, ${check}, ${instance}, ${code}, ${from}, ${until}, true)`
    )
  }
}

const secondsAgo = (date: Date | null | undefined) => (date ? Math.round((Date.now() - date.getTime()) / SECOND) : date)

t.test('a period is stored once, and its end never moves back', async t => {
  await empty()
  const one = period()
  const filter = { from: new Date(Date.now() - 10 * MINUTE), to: new Date(Date.now() + MINUTE), limit: 10 }
  await store.write([one])
  await store.write([{ ...one, fromAgeMs: 5_000 }])
  const [open] = (await store.incidents(filter)).incidents
  t.strictSame(
    [open?.check, open?.code, open?.instance, open?.until],
    ['database', 'database_unreachable', 'one', null]
  )
  const from = secondsAgo(open?.from) ?? 0
  t.ok(from >= 60 && from < 90, `from ${from} s ago`)
  await store.write([{ ...one, untilAgeMs: undefined, isOver: true }])
  const { incidents } = await store.incidents(filter)
  t.equal(incidents.length, 1)
  const until = secondsAgo(incidents[0]?.until) ?? Number.NaN
  t.ok(until < 30, `until ${until} s ago, as last written`)
  await store.write([])
})

t.test('an incident whose replica ended without a shutdown ends at its last confirmation', async t => {
  await empty()
  await store.write([period({ fromAgeMs: 10 * MINUTE, untilAgeMs: 31 * SECOND })])
  const { incidents } = await store.incidents({ from: new Date(0), to: new Date(Date.now() + MINUTE), limit: 10 })
  const until = secondsAgo(incidents[0]?.until) ?? Number.NaN
  t.ok(until >= 31 && until < 60, `${until} s ago`)
})

t.test('incidents are those of one check that overlap the time, newest first, up to a limit', async t => {
  await empty()
  await insert(
    ['one', 'wedged', '2026-11-01T00:00:00Z', '2026-11-01T01:00:00Z', 'scheduler'],
    ['two', 'database_timeout', '2026-11-01T02:00:00Z', '2026-11-01T03:00:00Z', 'database'],
    ['one', 'overdue', '2026-11-01T04:00:00Z', '2026-11-01T05:00:00Z', 'scheduler'],
    ['one', null, '2026-11-01T00:00:00Z', '2026-11-01T05:00:00Z']
  )
  const codes = async (from: string, to: string, check?: string, limit = 10) => {
    const found = await store.incidents({ from: new Date(from), to: new Date(to), check, limit })
    return [found.incidents.map(({ code }) => code), found.hasMore]
  }
  t.strictSame(await codes('2026-11-01T00:30:00Z', '2026-11-01T04:00:01Z'), [
    ['overdue', 'database_timeout', 'wedged'],
    false
  ])
  t.strictSame(await codes('2026-11-01T01:00:01Z', '2026-11-01T04:00:00Z'), [['database_timeout'], false])
  t.strictSame(await codes('2026-11-01T00:00:00Z', '2026-11-02T00:00:00Z', 'scheduler'), [['overdue', 'wedged'], false])
  t.strictSame(await codes('2026-11-01T00:00:00Z', '2026-11-02T00:00:00Z', 'scheduler', 1), [['overdue'], true])
})

t.test('the share of a day is the part of it in which at least one replica was ready', async t => {
  await empty()
  const shares = (from: string, to: string, timeZone = 'UTC') =>
    store.readyShares({ from: new Date(from), to: new Date(to) }, timeZone)
  t.strictSame(await shares('2026-11-01T00:00:00Z', '2026-11-01T01:00:00Z'), [{ date: '2026-11-01', readyShare: null }])
  await insert(
    // The history begins at noon. The periods of the two replicas overlap.
    ['one', null, '2026-11-01T12:00:00Z', '2026-11-01T18:00:00Z'],
    ['two', null, '2026-11-01T13:00:00Z', '2026-11-01T14:00:00Z'],
    ['two', null, '2026-11-01T17:00:00Z', '2026-11-01T21:00:00Z'],
    ['one', 'database_unreachable', '2026-11-01T21:00:00Z', '2026-11-02T06:00:00Z'],
    ['one', null, '2026-11-02T06:00:00Z', '2026-11-03T00:00:00Z'],
    ['one', null, '2026-11-01T00:00:00Z', '2026-11-01T12:00:00Z', 'another check']
  )
  await database.run(sql => sql`delete from health_periods where check_name = 'another check'`)
  t.strictSame(await shares('2026-10-31T05:00:00Z', '2026-11-04T05:00:00Z'), [
    { date: '2026-10-31', readyShare: null },
    { date: '2026-11-01', readyShare: 0.75 },
    { date: '2026-11-02', readyShare: 0.75 },
    { date: '2026-11-03', readyShare: 0 },
    { date: '2026-11-04', readyShare: 0 }
  ])
  // A day in Seoul begins at 15:00 UTC. Ready: all of its first 3 hours, and 6 + 9 of 24 in total.
  t.strictSame(await shares('2026-11-01T16:00:00Z', '2026-11-01T17:00:00Z', 'Asia/Seoul'), [
    { date: '2026-11-02', readyShare: 0.625 }
  ])
})

t.test('the current day counts only the time that has passed, and a current period counts until now', async t => {
  await empty()
  const noon = new Date()
  await store.write([period({ check: READINESS, code: null, fromAgeMs: 60 * MINUTE, untilAgeMs: 10 * SECOND })])
  const days = await store.readyShares({ from: noon, to: noon }, 'UTC')
  t.strictSame(
    days.map(({ readyShare }) => readyShare),
    [1]
  )
})

t.test('periods that ended more than 90 days ago are deleted in batches', async t => {
  await empty()
  await database.run(
    sql => sql`
      insert into health_periods (period_id, check_name, instance, code, from_at, until_at, is_over)
      select gen_random_uuid(), 'database', 'one', 'x', now() - make_interval(days => d), now() - make_interval(days => d),
        true
      from unnest(array[1, 89, 91, 92, 93]) d`
  )
  t.equal(await database.transaction(tx => sweepHealthHistory(tx, 2)), 2)
  t.equal(await database.transaction(tx => sweepHealthHistory(tx, 2)), 1)
  t.equal(await database.transaction(tx => sweepHealthHistory(tx, 2)), 0)
  const [row] = await database.run(sql => sql<{ count: number }[]>`select count(*)::int as count from health_periods`)
  t.equal(row?.count, 2)
})
