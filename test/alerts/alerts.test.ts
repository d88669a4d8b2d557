import fc from 'fast-check'
import t from 'tap'
import { AlertBook, type AlertDetails, type AlertRules, alertRules, type Notice } from '../../src/alerts/alerts.ts'
import { HOUR, MINUTE, SECOND } from '../../src/async/durations.ts'

/** Rules under which a failed job has recovered as soon as it succeeds, without a confirmation time. */
const promptRules: AlertRules = { ...alertRules, job_failed: { ...alertRules.job_failed, recoverMs: 0 } }

const notReady: AlertDetails = { kind: 'readiness', instance: 'a', error: 'database_timeout' }
const stopped: AlertDetails = { kind: 'scheduler_stopped', by: 'admin', reason: 'release', until: null }

function jobFailed(runId: string): AlertDetails {
  return { kind: 'job_failed', jobId: 'update_open_orders', jobName: 'Update', runId, errorCode: 'EXCHANGE_DOWN' }
}

/** A book with a manual clock, and its notices as `type at seconds`. */
function open(options: ConstructorParameters<typeof AlertBook>[0] = {}) {
  const clock = { at: 0 }
  const book = new AlertBook({ now: () => clock.at, ...options })
  const notices: Notice[] = []
  return {
    clock,
    book,
    notices,
    summary: () => notices.map(({ type, at }) => `${type} ${at / SECOND}`),
    fails(
      at: number,
      details: AlertDetails = notReady,
      more: { since?: number; episode?: string; joinedAt?: number } = {}
    ) {
      clock.at = at
      notices.push(...book.observe({ key: 'k', failing: true, details, ...more }))
    },
    recovers(at: number) {
      clock.at = at
      notices.push(...book.observe({ key: 'k', failing: false }))
    },
    tick(at: number) {
      clock.at = at
      notices.push(...book.tick())
    }
  }
}

t.test('a loss of readiness is reported when it is confirmed, and its recovery when it lasts', async t => {
  const alerts = open()
  alerts.fails(0)
  alerts.tick(29 * SECOND)
  t.strictSame(alerts.summary(), [])
  alerts.tick(30 * SECOND)
  alerts.fails(40 * SECOND)
  alerts.recovers(100 * SECOND)
  alerts.tick(129 * SECOND)
  t.strictSame(alerts.summary(), ['alert 30'])
  alerts.tick(130 * SECOND)
  t.strictSame(alerts.summary(), ['alert 30', 'recovery 130'])
  t.hasStrict(alerts.notices[1], { since: 0, lastedMs: 100 * SECOND, details: notReady, key: 'k' })
})

t.test('a short failure is not reported', async t => {
  const alerts = open()
  alerts.fails(0)
  alerts.recovers(29 * SECOND)
  alerts.tick(HOUR)
  t.strictSame(alerts.summary(), [])
  t.strictSame(alerts.book.snapshot(), {}, 'no state is kept')
})

t.test('a short recovery does not end a condition', async t => {
  const alerts = open()
  alerts.fails(0)
  alerts.tick(30 * SECOND)
  alerts.recovers(40 * SECOND)
  alerts.fails(69 * SECOND)
  alerts.recovers(80 * SECOND)
  alerts.tick(110 * SECOND)
  t.strictSame(alerts.summary(), ['alert 30', 'recovery 110'])
})

t.test('an intermittent failure is reported when its total length reaches the limit', async t => {
  const alerts = open()
  for (let at = 0; at < 100; at += 10) {
    alerts.fails(at * SECOND)
    alerts.recovers((at + 5) * SECOND)
  }
  t.strictSame(alerts.summary(), ['alert 55'])
  t.equal(alerts.notices[0]?.since, 0)
})

t.test('a second alert of a key is delayed to the shortest interval', async t => {
  const alerts = open({ rules: promptRules })
  alerts.fails(0, jobFailed('1'))
  alerts.recovers(29 * SECOND)
  alerts.fails(58 * SECOND, jobFailed('2'))
  alerts.recovers(87 * SECOND)
  alerts.fails(14 * MINUTE, jobFailed('3'))
  t.strictSame(alerts.summary(), ['alert 0', 'recovery 29'])
  alerts.tick(15 * MINUTE)
  t.strictSame(alerts.summary(), ['alert 0', 'recovery 29', 'alert 900'])
  t.hasStrict(alerts.notices[2]?.details, { runId: '3' })
})

t.test('an alert that was not written has no recovery', async t => {
  const alerts = open({ rules: promptRules })
  alerts.fails(0, jobFailed('1'))
  alerts.recovers(1 * SECOND)
  alerts.fails(2 * SECOND, jobFailed('2'))
  alerts.recovers(3 * SECOND)
  t.strictSame(alerts.summary(), ['alert 0', 'recovery 1'])
})

t.test('notices that became due come before those of the next observation', async t => {
  const alerts = open()
  alerts.fails(0)
  alerts.recovers(100 * SECOND)
  t.strictSame(alerts.summary(), ['alert 100'], 'the failure lasted long enough')
  alerts.fails(HOUR)
  t.strictSame(alerts.summary(), ['alert 100', 'recovery 3600'], 'the recovery comes before the next failure')
  t.equal(alerts.notices[1]?.lastedMs, 100 * SECOND)
  alerts.tick(HOUR + 30 * SECOND)
  t.hasStrict(alerts.notices[2], { type: 'alert', since: HOUR })
})

t.test('failures with recoveries in between do not add up', async t => {
  const alerts = open()
  for (let hour = 0; hour < 24; hour++) {
    alerts.fails(hour * HOUR)
    alerts.recovers(hour * HOUR + 5 * SECOND)
  }
  t.strictSame(alerts.summary(), [])
})

t.test('a job that fails every other time is reported once', async t => {
  const alerts = open()
  for (let run = 0; run < 100; run++) {
    const at = run * 307 * SECOND
    if (run % 2 === 0) alerts.fails(at, jobFailed(String(run)))
    else alerts.recovers(at)
  }
  t.strictSame(alerts.summary(), ['alert 0'])
  alerts.tick(10 * HOUR)
  t.hasStrict(alerts.notices[1], { type: 'recovery', lastedMs: 99 * 307 * SECOND })
})

t.test('reminders of a stopped scheduler are counted from the stop', async t => {
  const alerts = open()
  alerts.fails(10 * MINUTE, stopped, { since: 0, episode: 'e' })
  alerts.tick(59 * MINUTE)
  alerts.tick(60 * MINUTE)
  alerts.tick(61 * MINUTE)
  alerts.tick(185 * MINUTE)
  alerts.recovers(190 * MINUTE)
  t.strictSame(
    alerts.notices.map(({ dedupeKey }) => dedupeKey),
    ['k:e:alert', 'k:e:reminder-1', 'k:e:reminder-3', 'k:e:recovery']
  )
})

t.test('replicas give messages about one occurrence the same keys', async t => {
  const one = open()
  const other = open()
  one.fails(1 * SECOND, stopped, { since: 0, episode: '2026-11-22T12:00:00.000Z' })
  other.fails(90 * MINUTE, stopped, { since: 0, episode: '2026-11-22T12:00:00.000Z' })
  one.tick(2 * HOUR)
  other.tick(2 * HOUR)
  t.equal(one.notices.length, 2)
  t.strictSame(
    one.notices.map(({ dedupeKey }) => dedupeKey),
    other.notices.map(({ dedupeKey }) => dedupeKey)
  )
})

t.test('another occurrence has another key', async t => {
  const alerts = open({ rules: promptRules })
  alerts.fails(0, jobFailed('1'), { episode: '1' })
  alerts.recovers(HOUR)
  alerts.fails(2 * HOUR, jobFailed('2'), { episode: '2' })
  alerts.fails(3 * HOUR, jobFailed('3'), { episode: '3' })
  alerts.recovers(4 * HOUR)
  t.strictSame(
    alerts.notices.map(({ dedupeKey }) => dedupeKey),
    ['k:1:alert', 'k:1:recovery', 'k:2:alert', 'k:2:recovery']
  )
})

t.test(
  'a member that joins after the alert is reported by a reminder, at most once in the shortest interval',
  async t => {
    const failed = (count: number): AlertDetails => {
      return { kind: 'accounts_failed', exchange: 'BINANCE', count, accounts: [], codes: [] }
    }
    const alerts = open()
    alerts.fails(0, failed(1), { joinedAt: 0 })
    alerts.fails(10 * MINUTE, failed(2), { joinedAt: 9 * MINUTE })
    alerts.fails(20 * MINUTE, failed(3), { joinedAt: 19 * MINUTE })
    t.strictSame(alerts.summary(), ['alert 0'], 'not within the interval')
    alerts.tick(30 * MINUTE)
    t.strictSame(alerts.summary(), ['alert 0', 'reminder 1800'])
    t.hasStrict(alerts.notices[1], { details: failed(3), dedupeKey: `k:0:joined-${19 * MINUTE}` })
    alerts.fails(60 * MINUTE, failed(2), { joinedAt: 9 * MINUTE })
    alerts.fails(2 * HOUR, failed(2), { joinedAt: 19 * MINUTE })
    t.equal(alerts.notices.length, 2, 'a member that left, or was reported, is none that joined')
    alerts.recovers(3 * HOUR)
    alerts.tick(4 * HOUR)
    t.strictSame(alerts.summary().slice(2), ['recovery 14400'])
  }
)

t.test('a snapshot can be stored as JSON', async t => {
  const before = open()
  before.fails(0)
  before.tick(30 * SECOND)
  const after = open({ conditions: JSON.parse(JSON.stringify(before.book.snapshot())) })
  after.recovers(MINUTE)
  after.tick(2 * MINUTE)
  t.strictSame(after.summary(), ['recovery 120'])
  t.equal(after.notices[0]?.dedupeKey, 'k:0:recovery')
})

t.test('a time before the last observation counts as that one', async t => {
  const alerts = open()
  alerts.fails(HOUR)
  alerts.tick(0)
  alerts.tick(HOUR + 30 * SECOND)
  t.strictSame(alerts.summary(), ['alert 3630'])
})

t.test('keys are independent', async t => {
  const { book } = open()
  const well = { key: 'b', failing: false } as const
  const both = book.observe({ key: 'a', failing: true, details: stopped }, well)
  t.strictSame(
    both.map(({ key }) => key),
    ['a']
  )
})

t.test('every kind has a rule with a shortest interval between alerts', async t => {
  for (const [kind, { minIntervalMs }] of Object.entries(alertRules))
    t.ok(minIntervalMs > 0, `${kind}: ${minIntervalMs} ms`)
})

t.test('for any observations, alerts keep their interval, and each has one later recovery', async () => {
  const rule = { confirmMs: 20, recoverMs: 15, minIntervalMs: 100, remindMs: 50 }
  const rules: AlertRules = { ...alertRules, readiness: rule }
  const step = fc.record({ after: fc.integer({ min: 0, max: 40 }), what: fc.constantFrom('fails', 'recovers', 'tick') })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), steps => {
      const alerts = open({ rules })
      let at = 0
      for (const { after, what } of steps) {
        at += after
        if (what === 'fails') alerts.fails(at)
        else if (what === 'recovers') alerts.recovers(at)
        else alerts.tick(at)
      }
      alerts.recovers(at)
      alerts.tick(at + rule.recoverMs)
      const main = alerts.notices.filter(({ type }) => type !== 'reminder')
      const alternate = main.every(({ type }, index) => type === (index % 2 === 0 ? 'alert' : 'recovery'))
      const times = main.filter(({ type }) => type === 'alert').map(notice => notice.at)
      const keepsInterval = times.every(
        (time, index) => index === 0 || time - (times[index - 1] ?? 0) >= rule.minIntervalMs
      )
      const keys = new Set(alerts.notices.map(({ dedupeKey }) => dedupeKey))
      return alternate && main.length % 2 === 0 && keepsInterval && keys.size === alerts.notices.length
    }),
    { numRuns: 500 }
  )
})
