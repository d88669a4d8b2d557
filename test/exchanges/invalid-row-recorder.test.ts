import t from 'tap'
import { DAY, MINUTE } from '../../src/async/durations.ts'
import type { Database } from '../../src/database/database.ts'
import { DatabaseUnavailableError } from '../../src/database/failure.ts'
import { InvalidRowRecorder } from '../../src/exchanges/invalid-row-recorder.ts'
import { sweepInvalidRows } from '../../src/exchanges/invalid-row-table.ts'
import { InvalidRows, type ListReading } from '../../src/exchanges/invalid-rows.ts'
import { captureLog } from '../support/app.ts'
import { assertRows } from '../support/assert-rows.ts'
import { tradingDatabase } from '../support/trading.ts'

let database: Database
t.before(async () => {
  database = await tradingDatabase(t)
})
t.beforeEach(() => database.run(sql => sql`delete from invalid_rows`))

function setUp() {
  let now = Date.now()
  const invalidRows = new InvalidRows({ now: () => now })
  const state = { isDown: false }
  const log = captureLog()
  const recorder = new InvalidRowRecorder({
    database: {
      run: async (work, options) => {
        if (state.isDown) throw new DatabaseUnavailableError('database_unreachable')
        return await database.run(work, options)
      }
    },
    invalidRows,
    log: log.logger
  })
  const pass = (ms: number) => {
    now += ms
  }
  return { invalidRows, recorder, state, pass }
}

const reading = (rest: Partial<ListReading> = {}, reason = 'side is unknown', times = 1): ListReading => ({
  exchange: 'BYBIT',
  marketType: 'SPOT',
  operation: 'openOrders',
  accountId: '7',
  subject: '',
  invalid: [{ kind: 'unreadable', reason, times, excerpt: '{"side":"Up"}' }],
  ...rest
})

const stored = () =>
  database.run(
    sql => sql`
      select account_id, reason, times::int, excerpt, round(extract(epoch from now() - first_seen) / 60)::int as first_min,
        round(extract(epoch from now() - last_seen) / 60)::int as last_min
      from invalid_rows order by account_id nulls first, reason`
  )

t.test(
  'one kind of fault is one row with its times, however often and by however many replicas it is found',
  async t => {
    const [one, other] = [setUp(), setUp()]
    one.invalidRows.record(reading({ accountId: null }))
    one.invalidRows.record(reading())
    one.invalidRows.record(reading({}, 'price is missing', 3))
    one.pass(5 * MINUTE)
    one.invalidRows.record(reading())
    await one.recorder.flush()
    const kinds = [
      { account_id: null, reason: 'side is unknown', times: 1, first_min: 5, last_min: 5 },
      { account_id: '7', reason: 'price is missing', times: 3, first_min: 5, last_min: 5 },
      { account_id: '7', reason: 'side is unknown', times: 2, first_min: 5, last_min: 0, excerpt: '{"side":"Up"}' }
    ]
    assertRows(t, await stored(), kinds)
    await one.recorder.flush()
    assertRows(t, await stored(), kinds)

    other.invalidRows.record(reading({ accountId: null }))
    await other.recorder.flush()
    t.hasStrict((await stored())[0], { times: 2, first_min: 5, last_min: 0 })
  }
)

t.test('while the database is not available rows wait, and are stored with their own times', async t => {
  const { invalidRows, recorder, state, pass } = setUp()
  state.isDown = true
  invalidRows.record(reading())
  await recorder.flush()
  pass(3 * MINUTE)
  invalidRows.record(reading())
  await recorder.flush()
  assertRows(t, await stored(), [])
  state.isDown = false
  await recorder.stop()
  assertRows(t, await stored(), [{ times: 2, first_min: 3, last_min: 0 }])
})

t.test('rows that wait are bounded, and the lists that are counted', async t => {
  const { invalidRows } = setUp()
  for (let i = 0; i < 6_000; i++) invalidRows.record(reading({ accountId: String(i), subject: String(i) }))
  t.equal(invalidRows.count('BYBIT'), 5_000)
  const waiting = invalidRows.take()
  t.equal(waiting.length, 1_000)
  t.equal(waiting.at(-1)?.accountId, '5999', 'the latest are kept')
})

t.test('kinds that were not seen for 30 days are deleted, in batches', async t => {
  const { invalidRows, recorder } = setUp()
  for (let i = 0; i < 4; i++) invalidRows.record(reading({ accountId: String(i) }))
  await recorder.flush()
  await database.run(
    sql =>
      sql`update invalid_rows set last_seen = now() - ${(30 * DAY) / 1_000 + 1} * interval '1 second' where account_id < 3`
  )
  t.equal(await database.transaction(tx => sweepInvalidRows(tx, 2)), 2)
  t.equal(await database.transaction(tx => sweepInvalidRows(tx, 2)), 1)
  t.equal(await database.transaction(tx => sweepInvalidRows(tx, 2)), 0)
  assertRows(t, await stored(), [{ account_id: '3' }])
})
