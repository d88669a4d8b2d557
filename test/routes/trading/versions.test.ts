import t from 'tap'
import { startApp, untilStatus } from '../../support/app.ts'
import { migratedDatabase } from '../../support/migrated-database.ts'
import { adminOf, Client, createUser } from '../../support/session.ts'
import { insertDay, insertEquity, seedTraders } from '../../support/trading-records.ts'

const { url: DATABASE_URL } = await migratedDatabase(t)
const { app, url } = await startApp(t, { DATABASE_URL, PROBE_PORT: 'off', SCHEDULER_ENABLED: 'false' })
await untilStatus(`${url}/health/startup`, 200)
const [trader] = await seedTraders(app.db)
const admin = await adminOf(app)
const user = new Client(url)
await user.signIn('bob', await createUser(app, 'bob'))

/** Days of 2019 and 2020: over at every time of this test. */
const LONG_AGO = 2_500
for (const daysAgo of [LONG_AGO, LONG_AGO + 1, LONG_AGO + 2]) {
  await insertDay(app.db, trader, { daysAgo, currency: 'USDT', amount: '1.5' })
}
await insertEquity(app.db, trader, { microseconds: 1, currency: 'USDT', amount: '1' })
await app.db.run(sql => sql`update equity_history set at = '2020-01-01', flow_at = '2020-01-02'`)

const get = async (path: string, headers: Record<string, string> = {}, client = admin) => {
  const response = await fetch(`${url}/api/trading/${path}`, { headers: { cookie: String(client.cookie), ...headers } })
  const { status } = response
  return { status, headers: response.headers, tag: response.headers.get('etag') ?? '', text: await response.text() }
}

const tables = [
  { name: 'performance', table: 'strategy_performance', changedAt: 'computed_at' },
  { name: 'daily-summaries', table: 'daily_account_summaries', changedAt: 'computed_at' },
  { name: 'equity', table: 'equity_history', changedAt: 'flow_at' }
]
for (const { name, table, changedAt } of tables) {
  const closed = `${name}?to=2020-03-01`
  const change = (statement: string) => app.db.run(sql => sql.unsafe(statement))

  t.test(`${name}: a client that has the items of closed days gets 304`, async t => {
    const { status, tag } = await get(closed)
    t.equal(status, 200)
    t.match(tag, /^W\/"[\w-]{20,}"$/)
    const strong = tag.replace('W/', '')
    for (const known of [tag, strong, `"other", ${tag}`, `W/"other",${strong} `, '*']) {
      const unchanged = await get(closed, { 'if-none-match': known })
      t.strictSame([unchanged.status, unchanged.text, unchanged.tag], [304, '', tag], known)
      t.equal(unchanged.headers.get('cache-control'), 'no-store')
      t.equal(unchanged.headers.get('vary'), 'Accept')
    }
    for (const other of ['"other"', '', 'W/', tag.slice(0, -2)]) {
      t.equal((await get(closed, { 'if-none-match': other })).status, 200, other)
    }
  })

  t.test(`${name}: other items and another format have another tag`, async t => {
    const answers = [
      await get(closed),
      await get(closed, { accept: 'text/csv' }),
      await get(`${closed}&limit=1`),
      await get(`${closed}&currency=USDT`),
      await get(`${closed}&from=2019-01-01`),
      await get(closed, {}, user)
    ]
    t.equal(new Set(answers.map(({ tag }) => tag)).size, answers.length)
    const [json, csv] = answers
    t.equal((await get(closed, { accept: 'text/csv', 'if-none-match': csv?.tag ?? '' })).status, 304)
    t.equal((await get(closed, { accept: 'text/csv', 'if-none-match': json?.tag ?? '' })).status, 200)
    t.equal((await get(closed, { 'accept-language': 'en', 'if-none-match': json?.tag ?? '' })).status, 304)
  })

  t.test(`${name}: the tag changes when an item is computed again, added or removed`, async t => {
    const { tag } = await get(closed)
    const tags = [tag]
    // Not the last one: another computation may have begun before and ended later.
    await change(`update ${table} set ${changedAt} = ${changedAt} - interval '1 microsecond'
      where ctid = (select min(ctid) from ${table})`)
    tags.push((await get(closed)).tag)
    await change(`create table kept as select * from ${table}`)
    await change(`delete from ${table} where ctid = (select min(ctid) from ${table})`)
    tags.push((await get(closed)).tag)
    await change(`insert into ${table} select * from kept on conflict do nothing`)
    t.equal((await get(closed)).tag, tags[1], 'the same items have the same tag')
    await change('drop table kept')
    t.equal(new Set(tags).size, 3)
    t.equal((await get(closed, { 'if-none-match': tag })).status, 200)
  })

  t.test(`${name}: days that are not over have no tag`, async t => {
    for (const path of [name, `${name}?to=9999-12-31`, `${name}?from=2019-01-01`]) {
      const { status, headers } = await get(path, { 'if-none-match': '*' })
      t.strictSame([status, headers.get('etag')], [200, null], path)
    }
  })
}

t.test('the books have no tag', async t => {
  const { status, headers } = await get('books', { 'if-none-match': '*' })
  t.strictSame([status, headers.get('etag')], [200, null])
})
