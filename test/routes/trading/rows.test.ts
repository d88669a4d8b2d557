import t from 'tap'
import { startApp, untilStatus } from '../../support/app.ts'
import { parseCsv } from '../../support/csv.ts'
import { migratedDatabase } from '../../support/migrated-database.ts'
import { adminOf, Client, createUser } from '../../support/session.ts'
import { seedTraders, type Trader } from '../../support/trading-records.ts'
import { insertRows } from '../../support/trading-rows.ts'

const { url: DATABASE_URL } = await migratedDatabase(t)
const { app, url } = await startApp(t, { DATABASE_URL, PROBE_PORT: 'off', SCHEDULER_ENABLED: 'false' })
await untilStatus(`${url}/health/startup`, 200)
const [first, second, third] = await seedTraders(app.db)
const admin = await adminOf(app)

type Item = Record<string, unknown>
const itemsOf = async (path: string, client = admin) => {
  const { status, answer } = await client.send('GET', `/api/trading/${path}`)
  if (status !== 200) throw new Error(`${path} answered ${status}`)
  return answer.items as Item[]
}
const csvOf = async (path: string) => {
  const response = await fetch(`${url}/api/trading/${path}`, {
    headers: { cookie: String(admin.cookie), accept: 'text/csv' }
  })
  const [header = [], ...rows] = parseCsv(await response.text())
  return rows.map(cells => Object.fromEntries(header.map((name, i) => [name, cells[i]])))
}
const pick = (items: readonly Item[], ...names: string[]) => items.map(item => names.map(name => item[name]))

t.test('amounts have exactly the digits that are stored, without trailing zeros', async t => {
  const amounts: [stored: string, shown: string][] = [
    ['12345678901234567890.123456789012345678', '12345678901234567890.123456789012345678'],
    ['-99999999999999999999999999999999999999', '-99999999999999999999999999999999999999'],
    ['1E-18', '0.000000000000000001'],
    ['-1E-18', '-0.000000000000000001'],
    ['-0', '0'],
    ['0.000', '0'],
    ['-0.10', '-0.1'],
    ['1E+20', '100000000000000000000'],
    ['100', '100'],
    ['0.1', '0.1']
  ]
  for (const [i, [amount]] of amounts.entries()) {
    await insertRows(app.db, third, { microseconds: 100 - i, currency: 'USDT', amount })
  }
  const shown = amounts.map(([, text]) => text).reverse()
  const path = (name: string) => `${name}?account_id=${third.accountId}`
  t.strictSame(
    pick(await itemsOf(path('executions')), 'price', 'realized_pnl'),
    shown.map(text => [text, text])
  )
  t.strictSame(pick(await csvOf(path('executions')), 'price').flat(), shown)
  t.strictSame(pick(await itemsOf(path('orders')), 'price').flat(), shown)
  t.strictSame(pick(await itemsOf(path('ledger')), 'amount').flat(), shown)
  t.strictSame(pick(await csvOf(path('ledger')), 'amount').flat(), shown)
  t.strictSame(pick(await itemsOf(path('positions')), 'quantity').flat(), shown)
  const balances = pick(await itemsOf(path('balances')), 'total', 'locked', 'free')
  t.ok(balances.length > 0, `balances: ${balances.length}`)
  for (const [total, locked, free] of balances) {
    t.strictSame([locked, free, shown.includes(String(total))], [total, '0', true])
  }
})

t.test('what is not known is null, and an empty cell of CSV', async t => {
  await insertRows(app.db, second, { microseconds: 7, currency: null, amount: '5', isExternal: true })
  const path = (name: string) => `${name}?account_id=${second.accountId}`
  const unknown = ['strategy_id', 'strategy_account_id', 'base', 'quote']
  for (const name of ['executions', 'orders', 'positions']) {
    t.strictSame(pick(await itemsOf(path(name)), ...unknown), [[null, null, null, null]], name)
    t.strictSame(pick(await csvOf(path(name)), ...unknown), [['', '', '', '']], name)
  }
  t.strictSame(pick(await itemsOf(path('orders')), 'origin', 'average_price', 'flagged_at'), [['external', null, null]])
  t.strictSame(pick(await itemsOf(path('positions')), 'unrealized_pnl', 'marked_at'), [[null, null]])
})

t.test('net PnL is realised less fees, and of a position with funding', async t => {
  const fees: [fee: string, value: string | null, net: string | null][] = [
    ['0.25', '0.5', '9.5'],
    ['-0.25', '-0.5', '10.5'],
    ['0', null, '10'],
    ['0.25', null, null]
  ]
  for (const [i, [fee, value]] of fees.entries()) {
    const orderId = await insertRows(app.db, first, { microseconds: 50 - i, currency: 'BTC', amount: '10' })
    await app.db.run(
      sql => sql`
        update trade_executions set fee = ${fee}::numeric, fee_value = ${value}::numeric where order_id = ${orderId}`
    )
  }
  t.strictSame(pick(await itemsOf('executions?currency=BTC'), 'net_pnl').flat(), fees.map(([, , net]) => net).reverse())
  await app.db.run(sql => sql`update trade_executions set realized_pnl = null where quote = 'BTC' and fee_value = 0.5`)
  t.strictSame(pick(await itemsOf('executions?currency=BTC'), 'realized_pnl', 'net_pnl').at(-1), [null, '-0.5'])
  await app.db.run(sql => sql`update strategy_positions set fees = 4.5, funding = -0.25 where quote = 'BTC'`)
  t.strictSame(new Set(pick(await itemsOf('positions?currency=BTC'), 'net_pnl').flat()), new Set(['5.25']))
})

t.test('a filter by strategy has its items on all accounts that the caller may read', async t => {
  await app.db.run(async sql => {
    const [row] = await sql<{ id: string }[]>`
      insert into strategy_accounts (strategy_id, account_id, allocated_capital, capital_currency)
      values (${first.strategyId}, ${third.accountId}, 1, 'USDT') returning strategy_account_id as id`
    const shared: Trader = { ...third, strategyAccountId: row?.id ?? '' }
    await insertRows(app.db, shared, { microseconds: 3, currency: 'ETH', amount: '1' })
    await insertRows(app.db, first, { microseconds: 4, currency: 'ETH', amount: '1' })
    await insertRows(app.db, third, { microseconds: 5, currency: 'ETH', amount: '1' })
  })
  const password = await createUser(app, 'bob')
  await app.db.run(
    sql => sql`
      update accounts set user_id = (select user_id from users where username = 'bob')
      where account_id = ${third.accountId}`
  )
  const bob = new Client(url)
  await bob.signIn('bob', password)
  for (const name of ['executions', 'orders', 'positions']) {
    const path = `${name}?currency=ETH&strategy_id=${first.strategyId}`
    const accounts = async (client: Client, more = '') =>
      pick(await itemsOf(path + more, client), 'account_id', 'strategy_id')
    const [onThird, onFirst] = [
      [third.accountId, first.strategyId],
      [first.accountId, first.strategyId]
    ]
    t.strictSame(new Set(await accounts(admin)), new Set([onThird, onFirst]), name)
    t.strictSame(await accounts(bob), [onThird], `${name}: an account of another user is not in it`)
    t.strictSame(await accounts(admin, `&account_id=${first.accountId}`), [onFirst])
    t.strictSame(await accounts(bob, `&account_id=${first.accountId}`), [])
    t.strictSame(await itemsOf(`${name}?strategy_id=999999999999999999`), [])
  }
})

t.test('from is included and to is not, to the microsecond', async t => {
  for (const microseconds of [20, 21, 22]) {
    await insertRows(app.db, first, { microseconds, currency: 'XRP', amount: `${microseconds}` })
  }
  const [from, to] = ['2026-11-22T23:59:59.999979Z', '2026-11-23T08:59:59.999980%2B09:00']
  for (const [name, amount] of [
    ['executions', 'price'],
    ['orders', 'price'],
    ['ledger', 'amount']
  ] as const) {
    const amounts = async (query: string) => pick(await itemsOf(`${name}?currency=XRP${query}`), amount).flat()
    t.strictSame(await amounts(`&from=${from}`), ['20', '21'], name)
    t.strictSame(await amounts(`&to=${to}`), ['21', '22'], name)
    t.strictSame(await amounts(`&from=${from}&to=${to}&account_id=${first.accountId}`), ['21'], name)
    t.strictSame(await amounts('&from=2026-11-23&to=2026-11-24'), ['20', '21', '22'], 'a day of Asia/Seoul')
    t.strictSame(await amounts('&from=2026-11-24'), [])
  }
})
