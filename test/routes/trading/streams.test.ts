import { connect } from 'node:net'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { startApp, untilStatus } from '../../support/app.ts'
import { parseCsv } from '../../support/csv.ts'
import { migratedDatabase } from '../../support/migrated-database.ts'
import { adminOf } from '../../support/session.ts'
import { seedTraders } from '../../support/trading-records.ts'

const { url: DATABASE_URL } = await migratedDatabase(t)
const settings = { DATABASE_URL, PROBE_PORT: 'off', SCHEDULER_ENABLED: 'false' }
const { app, url } = await startApp(t, settings)
await untilStatus(`${url}/health/startup`, 200)
const [{ accountId }] = await seedTraders(app.db)
const ROWS = 2_400
await app.db.run(
  sql => sql`
    insert into equity_history (account_id, at, currency, equity, cash, holdings, unrealized_pnl)
    select ${accountId}, '2026-01-01'::timestamptz + n * interval '10 minutes', 'USDT', n, 0, 0, -n
    from generate_series(1, ${ROWS}::int) n`
)
const { cookie = '' } = await adminOf(app)
const csvOf = (path = 'equity', headers: Record<string, string> = {}) =>
  fetch(`${url}/api/trading/${path}`, { headers: { cookie, accept: 'text/csv', ...headers } })

/** Calls `before` with the number of each page before it is read. */
function watchPages(t: Test, { tradingReader: reader }: FastifyInstance, before: (page: number) => unknown) {
  const page = reader.page.bind(reader)
  let count = 0
  reader.page = async (...args) => {
    await before(++count)
    return page(...args)
  }
  t.teardown(() => Reflect.deleteProperty(reader, 'page'))
  return { pages: () => count }
}

t.test('CSV has all items, in the order of the pages, and those from a cursor on', async t => {
  const pages = watchPages(t, app, () => undefined)
  const [, ...rows] = parseCsv(await (await csvOf()).text())
  t.equal(pages.pages(), 5, 'pages of 500 items')
  t.strictSame(
    rows.map(([, , , equity]) => equity),
    Array.from({ length: ROWS }, (_, i) => String(ROWS - i))
  )
  const first = await csvOf('equity?limit=499')
  const [, ...limited] = parseCsv(await first.text())
  t.strictSame(limited, rows.slice(0, 499))
  const [, ...rest] = parseCsv(await (await csvOf(`equity?before=${first.headers.get('next-before')}`)).text())
  t.strictSame(rest, rows.slice(499))
})

t.test('CSV that the database cannot complete is not a complete answer', async t => {
  const rename = (from: string, to: string) => app.db.run(sql => sql`alter table ${sql(from)} rename to ${sql(to)}`)
  watchPages(t, app, page => page === 3 && rename('equity_history', 'gone'))
  const response = await csvOf()
  t.equal(response.status, 200)
  await t.rejects(response.text(), { name: 'TypeError' })

  for (const accept of ['text/csv', 'application/json']) {
    for (const query of ['', '?to=2020-01-01']) {
      const failed = await csvOf(`equity${query}`, { accept })
      t.strictSame(
        [failed.status, failed.headers.get('retry-after'), failed.headers.get('content-type')],
        [503, '5', 'application/json; charset=utf-8'],
        `before the first item: ${accept}`
      )
      t.hasStrict(await failed.json(), { success: false, code: 'DATABASE_UNAVAILABLE' })
    }
  }
  await rename('gone', 'equity_history')
  t.equal((await (await csvOf()).text()).split('\r\n').length, ROWS + 2)
})

t.test('a client of HTTP/1.0, for which the end of the connection is that of the file, must give a limit', async t => {
  const ask = async (query: string) => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    const lines = [
      `GET /api/trading/equity${query} HTTP/1.0`,
      'host: localhost',
      'accept: text/csv',
      `cookie: ${cookie}`
    ]
    socket.write(`${lines.join('\r\n')}\r\n\r\n`)
    const [head = '', body = ''] = Buffer.concat(await socket.toArray())
      .toString()
      .split(/\r\n\r\n/)
    return { head, body }
  }
  const all = await ask('')
  t.match(all.head, /^HTTP\/1.1 400 /)
  t.match(all.body, /"field":"\/querystring\/limit"/)
  const limited = await ask('?limit=2')
  t.match(limited.head, /^HTTP\/1.1 200 /)
  t.match(limited.head.toLowerCase(), new RegExp(`^content-length: ${Buffer.byteLength(limited.body)}$`, 'm'))
  t.equal(parseCsv(limited.body).length, 3)
})

t.test('when the client disconnects, no further page is read', async t => {
  const controller = new AbortController()
  let receive = () => {}
  const received = new Promise<void>(resolve => {
    receive = resolve
  })
  const closed = new Promise(resolve => app.server.once('request', req => req.socket.once('close', resolve)))
  const watched = watchPages(t, app, async page => {
    if (page !== 2) return
    await received
    controller.abort()
    await closed
  })
  const ended = new Promise<void>(resolve => {
    const { tradingReader: reader } = app
    const csv = reader.csv.bind(reader)
    reader.csv = async function* (...args) {
      try {
        yield* csv(...args)
      } finally {
        resolve()
      }
    }
    t.teardown(() => Reflect.deleteProperty(reader, 'csv'))
  })
  const headers = { cookie, accept: 'text/csv', connection: 'close' }
  const response = await fetch(`${url}/api/trading/equity`, { headers, signal: controller.signal })
  receive()
  await t.rejects(response.text(), { name: 'AbortError' })
  await ended
  t.equal(watched.pages(), 2)
})

t.test('a stream that does not end does not keep the service from closing', async t => {
  const other = await startApp(t, settings)
  await untilStatus(`${other.url}/health/ready`, 200)
  const never = new Promise(() => undefined)
  watchPages(t, other.app, page => page === 2 && never)
  const headers = { cookie, accept: 'text/csv' }
  const response = await fetch(`${other.url}/api/trading/equity`, { headers })
  const text = response.text()
  const startedMs = performance.now()
  await Promise.all([t.rejects(text, { name: 'TypeError' }), other.app.close()])
  const ms = performance.now() - startedMs
  t.ok(ms < 10_000, `closed in ${ms} ms`)
})

t.test('the preferred format by weight is sent, JSON when both are equal', async t => {
  const expected: [accept: string, type: string][] = [
    ['*/*', 'application/json'],
    ['text/csv', 'text/csv'],
    ['text/*', 'text/csv'],
    ['text/csv, application/json', 'application/json'],
    ['text/csv, application/json;q=0.9', 'text/csv'],
    ['text/csv;q=0.5, */*;q=0.1', 'text/csv'],
    ['text/csv;q=0, */*', 'application/json'],
    ['text/html,application/xhtml+xml,*/*;q=0.8', 'application/json'],
    ['image/png', 'application/json'],
    ['', 'application/json']
  ]
  for (const [accept, type] of expected) {
    const response = await csvOf('equity?limit=1', { accept })
    t.equal(response.headers.get('content-type')?.split(';')[0], type, accept)
    t.equal(response.headers.get('vary'), 'Accept')
    await response.text()
  }
})
