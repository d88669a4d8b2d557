import t from 'tap'
import type { Role } from '../../../src/auth/users.ts'
import { startApp, untilStatus } from '../../support/app.ts'
import { parseCsv } from '../../support/csv.ts'
import { migratedDatabase } from '../../support/migrated-database.ts'
import { Client, createUser } from '../../support/session.ts'
import { tokenOf } from '../../support/token.ts'
import { insertDay, insertEquity, seedTraders } from '../../support/trading-records.ts'
import { insertRows } from '../../support/trading-rows.ts'

const { url: DATABASE_URL } = await migratedDatabase(t)
const { app, url } = await startApp(t, { DATABASE_URL, PROBE_PORT: 'off', SCHEDULER_ENABLED: 'false' })
await untilStatus(`${url}/health/startup`, 200)
const traders = await seedTraders(app.db)
const [first, second, third] = traders

const clientOf = async (role: Role, username: string) => {
  const client = new Client(url)
  await client.signIn(username, await createUser(app, username, { role }))
  return client
}
const [admin, viewer, alice, bob] = await Promise.all([
  clientOf('admin', 'ada'),
  clientOf('viewer', 'vera'),
  clientOf('user', 'alice'),
  clientOf('user', 'bob')
])
const ofAlice = await tokenOf(app, { name: 'of-alice', role: 'user', username: 'alice' })
const tokenOfAlice = { authorization: `Bearer ${ofAlice}` }
// alice has the first two accounts, and bob the third one.
await app.db.run(async sql => {
  for (const [name, { userId }] of [
    ['alice', first],
    ['bob', third]
  ] as const) {
    const ofName = sql`(select user_id from users where username = ${name})`
    await sql`update accounts set user_id = ${ofName} where user_id = ${userId}`
    await sql`update strategies set user_id = ${ofName} where user_id = ${userId}`
  }
})
for (const [i, trader] of traders.entries()) {
  for (let daysAgo = 0; daysAgo < 5; daysAgo++) {
    for (const currency of ['USDT', 'KRW'])
      await insertDay(app.db, trader, { daysAgo, currency, amount: `${i + 1}.50` })
    await insertEquity(app.db, trader, { microseconds: daysAgo + 1, currency: 'USDT', amount: '-0.10' })
    const row = {
      microseconds: daysAgo + 1,
      currency: daysAgo % 2 === 0 ? 'KRW' : 'USDT',
      amount: '-0.10',
      word: '=2+3'
    }
    await insertRows(app.db, trader, row)
  }
}
await app.db.run(
  sql => sql`
    insert into book_totals (account_id, wallet, asset, source, amount) values
      (${first.accountId}, 'SPOT', 'BTC', 'entries', 1), (${first.accountId}, 'SPOT', 'BTC', 'executions', -0.5),
      (${third.accountId}, 'SPOT', '=USDT', 'entries', 7)`
)

interface Answer {
  success: boolean
  as_of: string
  items: Record<string, unknown>[]
  next_before: string | null
  code?: string
  details?: { field: string; rule: string }[]
}

const names = [
  ...['performance', 'daily-summaries', 'equity', 'books'],
  ...['positions', 'balances', 'orders', 'executions', 'ledger']
]
/** Those of the present state have no times. */
const hasTimes = (name: string) => !['books', 'positions', 'balances'].includes(name)
const byStrategyToo = ['positions', 'orders', 'executions']
/** The column of the filter `currency`, and a value that items of alice have. */
function currencyOf(name: string): [column: string, currency: string] {
  if (name === 'books') return ['asset', 'BTC']
  if (name === 'balances') return ['asset', 'KRW1']
  if (name === 'ledger') return ['asset', 'KRW']
  return [byStrategyToo.includes(name) ? 'quote' : 'currency', name === 'equity' ? 'USDT' : 'KRW']
}
const ask = async (client: Client, path: string, headers: Record<string, string> = {}) => {
  const { answer, ...rest } = await client.send('GET', `/api/trading/${path}`, undefined, headers)
  return { ...rest, answer: answer as unknown as Answer }
}
const accountsIn = ({ answer }: { answer: Answer }) =>
  [...new Set(answer.items.map(({ account_id, strategy_id }) => String(account_id ?? strategy_id)))].sort()

/** An answer as text. */
const read = async (client: Client, path: string, headers: Record<string, string> = {}, method = 'GET') => {
  const response = await fetch(`${url}/api/trading/${path}`, {
    method,
    headers: { cookie: String(client.cookie), 'accept-language': 'en', ...headers }
  })
  return { status: response.status, headers: response.headers, text: await response.text() }
}
const CSV = { accept: 'text/csv' }

/** The accounts or strategies of traders, as `accountsIn` returns them. */
const idsOf = (name: string, owned: (typeof traders)[number][]) =>
  owned.map(({ accountId, strategyId }) => (name === 'performance' ? strategyId : accountId)).sort()

for (const name of names) {
  const has = (owned: (typeof traders)[number][]) => idsOf(name, owned)

  t.test(`${name}: users see their own items, viewers and admins all of them`, async t => {
    for (const client of [admin, viewer]) {
      t.strictSame(accountsIn(await ask(client, name)), has([...traders]))
      t.strictSame(accountsIn(await ask(client, `${name}?user=ALICE`)), has([first, second]))
      t.strictSame(accountsIn(await ask(client, `${name}?user=nobody`)), [])
    }
    t.strictSame(accountsIn(await ask(alice, name)), has([first, second]))
    t.strictSame(accountsIn(await ask(bob, `${name}?user=Bob`)), has([third]))
    const { status, answer } = await ask(bob, `${name}?user=alice`)
    t.strictSame([status, answer.code], [403, 'FORBIDDEN'])
    t.equal((await ask(new Client(url), name)).status, 401)
  })

  t.test(`${name}: a token of a user reads what the user reads, also by the name of the user`, async t => {
    const script = new Client(url)
    for (const query of ['', '?user=alice', '?user=ALICE']) {
      t.strictSame(accountsIn(await ask(script, `${name}${query}`, tokenOfAlice)), has([first, second]), query)
    }
    t.equal((await ask(script, `${name}?user=bob`, tokenOfAlice)).status, 403)
  })

  t.test(`${name}: the account or the strategy of another user has no items`, async t => {
    const filter = name === 'performance' ? 'strategy_id' : 'account_id'
    const [own, other] = [idsOf(name, [third])[0], idsOf(name, [first])[0]]
    t.strictSame(accountsIn(await ask(bob, `${name}?${filter}=${own}`)), [own])
    const { status, answer } = await ask(bob, `${name}?${filter}=${other}`)
    t.strictSame([status, answer.items, answer.next_before], [200, [], null])
    t.strictSame((await ask(bob, `${name}?${filter}=999999999999999999`)).answer.items, [])
    t.strictSame(accountsIn(await ask(admin, `${name}?${filter}=${other}&user=bob`)), [])
    t.strictSame(accountsIn(await ask(admin, `${name}?${filter}=${other}`)), [other])
  })

  t.test(`${name}: pages of the currency and of the user follow each other`, async t => {
    const [field, currency] = currencyOf(name)
    const whole = (await ask(admin, `${name}?currency=${currency}&user=alice`)).answer
    t.ok(whole.items.length > 0, `items: ${whole.items.length}`)
    t.ok(
      whole.items.every(item => item[field] === currency),
      'of the currency'
    )
    const items = []
    let before: string | null = ''
    while (before !== null) {
      const page: Answer = (
        await ask(admin, `${name}?currency=${currency}&user=alice&limit=3${before && `&before=${before}`}`)
      ).answer
      items.push(...page.items)
      before = page.next_before
    }
    t.strictSame(items, whole.items)
  })

  t.test(`${name}: CSV has the items of all pages`, async t => {
    const { answer } = await ask(admin, name)
    const csv = await read(admin, name, CSV)
    t.equal(csv.status, 200)
    t.equal(csv.headers.get('content-type'), 'text/csv; charset=utf-8; header=present')
    t.equal(csv.headers.get('content-disposition'), `attachment; filename="${name}.csv"`)
    const asOf = csv.headers.get('as-of') ?? ''
    t.ok(Date.parse(asOf) >= Date.parse(answer.as_of), `the time of the first page: ${asOf}`)
    const [header = [], ...rows] = parseCsv(csv.text)
    t.strictSame(header, Object.keys(answer.items[0] ?? {}))
    const cell = (value: unknown) =>
      value === null ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value).replace(/^=/, "'=")
    t.strictSame(
      rows,
      answer.items.map(item => header.map(column => cell(item[column])))
    )
    const limited = await read(admin, `${name}?limit=1`, CSV)
    t.equal(parseCsv(limited.text).length, 2, 'the header and one item')
    t.equal(limited.headers.get('next-before'), (await ask(admin, `${name}?limit=1`)).answer.next_before)
    t.equal((await read(admin, `${name}?user=nobody`, CSV)).text, `${header.join(',')}\r\n`)
  })

  t.test(`${name}: HEAD answers with the headers of GET`, async t => {
    for (const accept of ['application/json', 'text/csv']) {
      const [head, get] = [await read(admin, name, { accept }, 'HEAD'), await read(admin, name, { accept })]
      t.strictSame([head.status, head.text], [200, ''])
      for (const header of ['content-type', 'vary', 'cache-control', 'content-disposition']) {
        t.equal(head.headers.get(header), get.headers.get(header), header)
      }
    }
  })

  t.test(`${name}: what is not a valid query is rejected, and nothing hostile is an internal error`, async t => {
    const cursor = (await ask(admin, `${name}?limit=1`)).answer.next_before ?? ''
    const other = (await ask(admin, `${name === 'equity' ? 'performance' : 'equity'}?limit=1`)).answer.next_before
    const moments = ['2026-02-30', '0000-01-01', 'x', '', '2026-11-22T00:00:00', '2026-11-22T00:00:00%2B99:99', '1e309']
    const rejected: [query: string, field: string][] = [
      ...['0', '501', '-1', '1e2', 'x', '', '99999999999999999999', '1&limit=2'].map((limit): [string, string] => [
        `limit=${limit}`,
        '/querystring/limit'
      ]),
      ...[
        'x',
        '%00',
        other ?? '',
        `${cursor}A`,
        `${cursor.slice(0, -2)}`,
        'A'.repeat(401),
        '',
        "'; drop table users"
      ].map((before): [string, string] => [`before=${before}`, '/querystring/before']),
      ...['a b', '', 'x'.repeat(65), '%00', 'İ'].map((user): [string, string] => [`user=${user}`, '/querystring/user']),
      ...['', ' ', '%00', 'x'.repeat(41)].map((one): [string, string] => [`currency=${one}`, '/querystring/currency']),
      ['unknown=1', '/querystring/unknown']
    ]
    const missing = name === 'performance' ? 'account_id' : 'strategy_id'
    if (!byStrategyToo.includes(name)) rejected.push([`${missing}=1`, `/querystring/${missing}`])
    const id = name === 'performance' ? 'strategy_id' : 'account_id'
    for (const one of ['99999999999999999999', '9999999999999999999', '0', '-1', '1.0', '01', 'x', '']) {
      rejected.push([`${id}=${one}`, `/querystring/${id}`])
    }
    for (const one of hasTimes(name) ? moments : []) {
      rejected.push([`from=${one}`, '/querystring/from'], [`to=${one}`, '/querystring/to'])
    }
    if (!hasTimes(name)) rejected.push(['from=2026-11-22', '/querystring/from'])
    else rejected.push(['from=2026-11-23&to=2026-11-22', '/querystring/from'])
    for (const [query, field] of rejected) {
      for (const headers of [{}, CSV]) {
        const { status, text } = await read(admin, `${name}?${query}`, headers)
        const { code, details = [] } = JSON.parse(text) as Answer
        t.strictSame([status, code, details[0]?.field], [400, 'VALIDATION_FAILED', field], query)
      }
    }
  })
}
