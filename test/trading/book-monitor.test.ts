import { pino } from 'pino'
import t from 'tap'
import { BookMonitor } from '../../src/trading/book-monitor.ts'
import { TestBooks } from '../support/books.ts'

t.test('the check is degraded while a difference of an active account is unexplained', async t => {
  const books = await TestBooks.create(t)
  let now = Date.now()
  const monitor = new BookMonitor({ database: books.database, log: pino({ level: 'silent' }), now: () => now })
  t.teardown(() => monitor.close())
  const values = () => {
    const set: Record<string, number> = {}
    const distribute = () => undefined
    monitor.report({ set: (name, _labels, value) => Object.assign(set, { [name]: value }), distribute })
    return set
  }
  const ok = { name: 'books', status: 'ok', code: null, since: null }
  t.strictSame(monitor.details(), { ...ok, latency_ms: null, age_ms: null }, 'nothing was read yet')
  t.strictSame(values(), {})

  await books.open('USDT', '10')
  await books.round({ USDT: '11' })
  await monitor.refresh()
  const { latency_ms: latencyMs, ...tolerated } = monitor.details()
  t.strictSame(tolerated, { ...ok, age_ms: 0 }, 'the first two runs are tolerated')
  t.ok(Number.isInteger(latencyMs), `the latency of the reading: ${latencyMs}`)
  await books.round({ USDT: '11' })
  await books.round({ USDT: '11' })
  await monitor.refresh()
  const [row] = await books.database.run(sql => sql<{ since: Date }[]>`select since from book_differences`)
  const since = row?.since ?? new Date(Number.NaN)
  now = since.getTime() + 90_000
  t.hasStrict(monitor.details(), { status: 'degraded', code: 'unexplained', since: since.toISOString() })
  t.strictSame(values(), {
    trading_health_book_differences: 1,
    trading_health_book_difference_oldest_age_seconds: 90
  })

  await books.database.run(sql => sql`update accounts set is_active = false`)
  await monitor.refresh()
  t.hasStrict(monitor.details(), { status: 'ok', code: null }, 'an account that is disabled does not count')
  t.strictSame(values(), {
    trading_health_book_differences: 0,
    trading_health_book_difference_oldest_age_seconds: 0
  })
})
