import t from 'tap'
import { ConfigError } from '../../src/config.ts'
import type { Database } from '../../src/database/database.ts'
import { assertSameDays } from '../../src/trading/day-boundaries.ts'
import { tradingDatabase } from '../support/trading.ts'

let database: Database
t.before(async () => {
  database = await tradingDatabase(t)
})

// Set back at midnight, set forward at midnight, by half an hour, during Ramadan, by a POSIX rule, without a change.
for (const timeZone of [
  ...['America/Havana', 'America/Santiago', 'Africa/Cairo', 'Australia/Lord_Howe', 'Africa/Casablanca', 'EST5EDT'],
  ...['Asia/Seoul', 'asia/seoul', 'UTC', 'EST', 'Etc/GMT+9', 'Pacific/Apia']
]) {
  t.test(`the days of ${timeZone} begin at the same times in Node.js and PostgreSQL`, async () => {
    await assertSameDays(database, timeZone)
  })
}

for (const timeZone of ['CET', 'MET', 'EET', 'WET']) {
  t.test(`${timeZone} is rejected, because PostgreSQL reads an abbreviation without summer time`, async t => {
    const err = await assertSameDays(database, timeZone).catch((thrown: unknown) => thrown)
    if (!(err instanceof ConfigError)) throw err
    const [, day = ''] =
      /^TIME_ZONE: Node.js and PostgreSQL do not begin (\S+) at the same time; use the name/.exec(err.message) ?? []
    // All of them have summer time from the end of March to the end of October.
    t.ok(/^\d{4}-(0[3-9]|10)-\d{2}$/.test(day), `the day: ${day}`)
  })
}

t.test('a zone that PostgreSQL does not know is rejected', async t => {
  await t.rejects(
    assertSameDays(database, 'Mars/Olympus'),
    new ConfigError('TIME_ZONE: PostgreSQL does not know it; use the name of a region, such as Europe/Berlin')
  )
})

t.test('another failure of the database is not reported as an unknown zone', async t => {
  for (const failure of [new Error('closed'), Object.assign(new Error('no connection'), { code: '08006' })]) {
    const failing = { run: async () => Promise.reject(failure) } as unknown as Database
    await t.rejects(assertSameDays(failing, 'UTC'), failure)
  }
})
