import fc from 'fast-check'
import t from 'tap'
import { DAY, HOUR, MINUTE, SECOND } from '../../src/async/durations.ts'
import { daily, every } from '../../src/scheduler/trigger.ts'

const iso = (ms: number) => new Date(ms).toISOString()
const at = (text: string) => Date.parse(text)
/** From 1971 to 2100. */
const moments = fc.integer({ min: 365 * DAY, max: 47_482 * DAY })

t.test('the text of an interval is that of the specification', async t => {
  t.equal(every(29 * SECOND).text, 'interval[0:00:29]')
  t.equal(every(307 * SECOND).text, 'interval[0:05:07]')
  t.equal(every(MINUTE).text, 'interval[0:01:00]')
  t.equal(every(HOUR - SECOND).text, 'interval[0:59:59]')
  t.equal(every(DAY - SECOND).text, 'interval[23:59:59]')
  t.equal(every(DAY).text, 'interval[1 day, 0:00:00]')
  t.equal(every(26 * HOUR).text, 'interval[1 day, 2:00:00]')
  t.equal(every(2 * DAY).text, 'interval[2 days, 0:00:00]')
  for (const bad of [0, -1, 1_500, Number.NaN, Number.POSITIVE_INFINITY]) t.throws(() => every(bad), RangeError)
})

t.test('an interval is due at whole multiples from the epoch', async t => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 3_600 }), fc.integer({ min: 0, max: 20_000 }), (seconds, moment) => {
      // The reference: counts step by step from the epoch.
      const period = seconds * SECOND
      const momentMs = moment * 997
      let latest = 0
      while (latest + period <= momentMs) latest += period
      const trigger = every(period)
      t.equal(trigger.latest(momentMs), latest)
      t.equal(trigger.next(momentMs), latest + period)
    }),
    { numRuns: 200 }
  )
})

t.test('an interval counts as many fires as there are step by step', async t => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 400 }),
      moments,
      fc.integer({ min: -5_000, max: 500_000 }),
      (seconds, fromMs, span) => {
        const trigger = every(seconds * SECOND)
        let count = 0
        for (let due = trigger.next(fromMs - 1); due < fromMs + span; due = trigger.next(due)) count++
        t.equal(trigger.count(fromMs, fromMs + span), count)
      }
    ),
    { numRuns: 200 }
  )
})

t.test('the text of a daily time is that of the specification', async t => {
  t.equal(daily({ hour: 21, minute: 3 }, 'Asia/Seoul').text, "cron[hour='21', minute='3']")
  t.equal(daily({ hour: 0, minute: 0, second: 13 }, 'UTC').text, "cron[hour='0', minute='0', second='13']")
  t.not(
    daily({ hour: 21, minute: 3 }, 'Asia/Seoul').definition,
    daily({ hour: 21, minute: 3 }, 'UTC').definition,
    'another time zone is another schedule'
  )
  t.equal(daily({ hour: 23, minute: 59, second: 59 }, 'UTC').text, "cron[hour='23', minute='59', second='59']")
  const midnight = { hour: 0, minute: 0 }
  for (const bad of [
    { hour: 24 },
    { minute: 60 },
    { second: 60 },
    { hour: -1 },
    { minute: 1.5 },
    { second: Number.NaN }
  ])
    t.throws(() => daily({ ...midnight, ...bad }, 'UTC'), { name: 'RangeError', message: 'not a time of a day' })
  t.throws(() => daily({ hour: 1, minute: 0 }, 'Mars/Olympus'), RangeError)
})

t.test('a daily time is a time of its zone', async t => {
  const summary = daily({ hour: 21, minute: 3 }, 'Asia/Seoul')
  t.equal(iso(summary.next(at('2026-11-23T12:02:59.999Z'))), '2026-11-23T12:03:00.000Z')
  t.equal(iso(summary.next(at('2026-11-23T12:03:00.000Z'))), '2026-11-24T12:03:00.000Z')
  t.equal(iso(summary.latest(at('2026-11-23T12:03:00.000Z'))), '2026-11-23T12:03:00.000Z')
  t.equal(iso(summary.latest(at('2026-11-23T12:02:59.999Z'))), '2026-11-22T12:03:00.000Z')
})

t.test('a daily time is due once on a day without that time, and on a day that has it twice', async t => {
  const zone = 'America/New_York'
  const spring = daily({ hour: 2, minute: 30 }, zone)
  const dues = [spring.next(at('2026-03-07T00:00:00Z'))]
  for (let i = 0; i < 3; i++) dues.push(spring.next(dues.at(-1) ?? 0))
  t.strictSame(dues.map(iso), [
    '2026-03-07T07:30:00.000Z',
    '2026-03-08T07:00:00.000Z', // 02:30 does not exist: due at 03:00, when the clock jumps
    '2026-03-09T06:30:00.000Z',
    '2026-03-10T06:30:00.000Z'
  ])
  const autumn = daily({ hour: 1, minute: 30 }, zone)
  const again = [autumn.next(at('2026-10-31T00:00:00Z'))]
  for (let i = 0; i < 2; i++) again.push(autumn.next(again.at(-1) ?? 0))
  t.strictSame(again.map(iso), [
    '2026-10-31T05:30:00.000Z',
    '2026-11-01T05:30:00.000Z', // the first 01:30 of two
    '2026-11-02T06:30:00.000Z'
  ])
})

/** The wall-clock time of a zone, from Intl. */
function wallClock(ms: number, timeZone: string) {
  const parts = new Intl.DateTimeFormat('en-GB', {
    timeZone,
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23'
  }).formatToParts(ms)
  const of = (type: string) => parts.find(part => part.type === type)?.value ?? ''
  return { date: `${of('year')}-${of('month')}-${of('day')}`, time: `${of('hour')}:${of('minute')}:${of('second')}` }
}

t.test('a daily time is due once on each local day, at its time if the day has it', async t => {
  const zones = ['Asia/Seoul', 'UTC', 'America/New_York', 'Europe/Berlin', 'Australia/Lord_Howe', 'Pacific/Apia']
  fc.assert(
    fc.property(
      fc.constantFrom(...zones),
      fc.integer({ min: 0, max: 23 }),
      fc.integer({ min: 0, max: 59 }),
      fc.integer({ min: at('2012-02-01T00:00:00Z'), max: at('2037-01-01T00:00:00Z') }),
      (zone, hour, minute, momentMs) => {
        const trigger = daily({ hour, minute }, zone)
        const next = trigger.next(momentMs)
        const after = trigger.next(next)
        t.ok(next > momentMs, `${next} is after ${momentMs}`)
        const distance = after - next
        t.ok(distance >= 22 * HOUR && distance <= 26 * HOUR, `${distance / HOUR} hours to the next`)
        t.not(wallClock(next, zone).date, wallClock(after, zone).date)
        t.equal(trigger.latest(next), next)
        t.equal(trigger.latest(after - 1), next)
        const { time } = wallClock(next, zone)
        const wanted = `${String(hour).padStart(2, '0')}:${String(minute).padStart(2, '0')}:00`
        // The reference: each minute of the day. A day without the time is due when its clock jumps.
        if (time !== wanted) {
          const date = wallClock(next, zone).date
          const from = next - 3 * HOUR
          for (let ms = from - (from % MINUTE); ms < next + 3 * HOUR; ms += MINUTE) {
            const clock = wallClock(ms, zone)
            t.notOk(clock.date === date && clock.time === wanted, `${zone} ${date} has ${wanted}, due at ${time}`)
          }
        }
      }
    ),
    { numRuns: 300 }
  )
})

t.test('a daily time counts as many fires as there are step by step', async t => {
  fc.assert(
    fc.property(
      fc.constantFrom('Asia/Seoul', 'America/New_York', 'Australia/Lord_Howe'),
      fc.integer({ min: at('2012-02-01T00:00:00Z'), max: at('2037-01-01T00:00:00Z') }),
      fc.integer({ min: -DAY, max: 60 * DAY }),
      (zone, fromMs, span) => {
        const trigger = daily({ hour: 2, minute: 15 }, zone)
        let count = 0
        for (let due = trigger.next(fromMs - 1); due < fromMs + span; due = trigger.next(due)) count++
        t.equal(trigger.count(fromMs, fromMs + span), count)
      }
    ),
    { numRuns: 60 }
  )
})

t.test('the count of a daily time includes the start and excludes the end', async t => {
  const trigger = daily({ hour: 21, minute: 3 }, 'Asia/Seoul')
  const due = at('2026-11-23T12:03:00Z')
  t.equal(trigger.count(due, due + 1), 1)
  t.equal(trigger.count(due + 1, due + DAY), 0)
  t.equal(trigger.count(due + 1, due + DAY + 1), 1)
  t.equal(trigger.count(due - 3 * DAY, due), 3)
  t.equal(trigger.count(due, due - 3 * DAY), 0)
})
