// The order-entry side and reports, with nothing but the roles that deploy/postgres/roles.sql gives them, as
// docs/order-entry.md describes it.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { untilStatus } from '../support/app.ts'
import { assertRows } from '../support/assert-rows.ts'
import { runCommand } from '../support/command.ts'
import { migrate, outcomeOf, runRoles, serverWithRoles } from '../support/database-roles.ts'
import { pgbouncerAbsent, startPgbouncer } from '../support/pgbouncer.ts'
import { projectRoot, startService } from '../support/service.ts'
import { Client } from '../support/session.ts'
import { SimulatedExchange } from '../support/simulated-exchange/simulated-exchange.ts'
import { missingTool } from '../support/tools.ts'

const PASSWORD = 'correct horse battery'
const DOCUMENT = readFileSync(join(projectRoot, 'docs/order-entry.md'), 'utf8')
const skip = missingTool('psql', 'postgresql-client')

/** The statements of the document that begin so. */
function documented(begin: string): string {
  const [statement, ...others] = [...DOCUMENT.matchAll(/^```sql\n([\s\S]*?)^```$/gm)]
    .map(([, block = '']) => block.trim())
    .filter(block => block.startsWith(begin))
  if (statement === undefined || others.length > 0) throw new Error(`not one statement begins with ${begin}`)
  return statement
}

function connect(t: Test, url: string) {
  const sql = postgres(url, { max: 2, prepare: false, onnotice: () => undefined })
  t.teardown(() => sql.end({ timeout: 1 }))
  return sql
}

/** Receives the notifications of a channel in their order. */
async function listen(sql: postgres.Sql, channel: string) {
  const received: string[] = []
  const waiting = new Set<() => void>()
  await sql.listen(channel, payload => {
    received.push(payload)
    for (const wake of waiting) wake()
  })
  return {
    received,
    next: async (): Promise<string> => {
      while (received.length === 0) await new Promise<void>(resolve => waiting.add(resolve))
      return received.shift() ?? ''
    }
  }
}

t.test(
  'an order is recorded before it has an id, is filled by the service, and is read by all roles',
  { skip },
  async t => {
    const {
      admin: superuser,
      owner,
      service: serviceUrl,
      entry: entryUrl,
      reader: readerUrl
    } = await serverWithRoles(t)
    t.equal(await migrate(owner, superuser), 'trading_service may use the tables.')
    const exchange = await SimulatedExchange.start({ exchange: 'BINANCE' })
    t.teardown(() => exchange.close())
    const service = await startService(t, { DATABASE_URL: serviceUrl, SCHEDULER_ENABLED: 'false', ...exchange.urls })
    await untilStatus(`${service.main}/health/startup`, 200)
    const command = (lines: string[], ...words: string[]) =>
      runCommand({ DATABASE_URL: serviceUrl, ...exchange.urls }, lines, ...words)
    t.hasStrict(await command([PASSWORD], 'user:create', 'ada', '--admin'), { code: 0 })
    const secrets = { apiKey: 'the key of ada', apiSecret: 'a secret of sixteen' }
    const wallet = exchange.addAccount(secrets)
    const words = ['account:add', '--user', 'ada', '--exchange', 'BINANCE', '--name', 'main']
    t.hasStrict(await command(Object.values(secrets), ...words), { code: 0 })
    const client = new Client(service.main)
    await client.signIn('ada', PASSWORD)
    const updateOrders = async () => {
      const { status, answer } = await client.send('POST', '/api/system/trigger-job', { job_type: 'update_orders' })
      t.equal(status, 200, JSON.stringify(answer))
    }

    const entry = connect(t, entryUrl)
    const states = await listen(entry, 'trading_order_states')
    const executions = await listen(entry, 'trading_executions')

    const [account] = await entry<{ account_id: string; user_id: string }[]>`
    select account_id, user_id from accounts where name = 'main' and is_active`
    if (account === undefined) throw new Error('no account')
    const [strategy] = await entry<{ strategy_id: string }[]>`
    insert into strategies (user_id, name, market_type) values (${account.user_id}, 'momentum', 'SPOT')
    returning strategy_id`
    const [share] = await entry<{ strategy_account_id: string }[]>`
    insert into strategy_accounts (strategy_id, account_id, allocated_capital, capital_currency)
    values (${strategy?.strategy_id ?? ''}, ${account.account_id}, 1000, 'USDT') returning strategy_account_id`
    if (share === undefined) throw new Error('no strategy account')
    await entry`update strategy_accounts set allocated_capital = 2000`
    await entry`update strategies set name = 'momentum 2'`
    assertRows(t, await entry`select amount, currency from strategy_capital order by valid_from`, [
      { amount: '1000', currency: 'USDT' },
      { amount: '2000', currency: 'USDT' }
    ])

    const insert = async (exchangeOrderId: string | null, quantity: string) => {
      const [row] = await entry<{ order_id: string }[]>`
      insert into orders (
        strategy_account_id, account_id, market_type, exchange_order_id, symbol, exchange_symbol, side, order_type, price,
        quantity
      ) values (
        ${share.strategy_account_id}, ${account.account_id}, 'SPOT', ${exchangeOrderId}, 'BTCUSDT', 'BTCUSDT', 'BUY',
        'LIMIT', 100, ${quantity}
      )
      on conflict (account_id, market_type, exchange_symbol, exchange_order_id) do nothing returning order_id`
      return row?.order_id
    }
    const poll = documented('select order_id, status')
    const stateOf = async (id = '') => [
      ...(await entry.unsafe(poll, [[id]] as never[])).map(({ status, filled_quantity, average_price }) => ({
        ...{ status, filled_quantity, average_price }
      }))
    ]

    const first = await insert(null, '2')
    await updateOrders()
    t.strictSame(await stateOf(first), [{ status: 'pending', filled_quantity: '0', average_price: null }])
    t.strictSame([states.received, executions.received], [[], []], 'the insert of an own order sends nothing')

    const placed = exchange.place(wallet, { quantity: '2', price: '100' })
    await entry`update orders set exchange_order_id = ${placed.exchangeOrderId} where order_id = ${first ?? ''}`
    await updateOrders()
    t.equal(await states.next(), '')
    t.strictSame(await stateOf(first), [{ status: 'open', filled_quantity: '0', average_price: null }])

    exchange.fill(placed, { quantity: '0.5', price: '99' })
    exchange.fill(placed, { quantity: '1.5', price: '100' })
    await updateOrders()
    const { event, rows, first_execution_id, last_execution_id, account_ids } = JSON.parse(await executions.next())
    t.strictSame({ event, rows, account_ids }, { event: 'recorded', rows: 2, account_ids: [account.account_id] })
    t.equal(await states.next(), '')
    const fills = await entry`
    select order_id::text, price, quantity from trade_executions
    where execution_id between ${first_execution_id} and ${last_execution_id} order by execution_id`
    assertRows(t, fills, [
      { order_id: first, price: '99', quantity: '0.5' },
      { order_id: first, price: '100', quantity: '1.5' }
    ])
    t.strictSame(await stateOf(first), [{ status: 'filled', filled_quantity: '2', average_price: '99.75' }])

    const next = exchange.place(wallet, { quantity: '1', price: '100' })
    const second = await insert(next.exchangeOrderId, '1')
    t.equal(await insert(next.exchangeOrderId, '1'), undefined, 'a second insert with the id changes nothing')
    exchange.end(next, 'canceled')
    await updateOrders()
    t.strictSame(await stateOf(second), [{ status: 'canceled', filled_quantity: '0', average_price: null }])

    const reader = connect(t, readerUrl)
    assertRows(t, await reader`select symbol, trim_scale(quantity)::text as quantity from strategy_positions`, [
      { symbol: 'BTCUSDT', quantity: '2' }
    ])
    assertRows(t, await reader`select username from users join accounts using (user_id)`, [{ username: 'ada' }])
  }
)

t.test('an order that was not sent is ended by the order-entry side, and an id is set once', { skip }, async t => {
  const { admin, owner, entry: entryUrl } = await serverWithRoles(t)
  await migrate(owner, admin)
  await seed(owner)
  const entry = connect(t, entryUrl)
  const insert = async (exchangeOrderId: string | null) => {
    const [row] = await entry<{ order_id: string }[]>`
      insert into orders (
        strategy_account_id, account_id, market_type, exchange_order_id, symbol, exchange_symbol, side, order_type, quantity
      ) values (1, 1, 'SPOT', ${exchangeOrderId}, 'BTCUSDT', 'BTCUSDT', 'BUY', 'MARKET', 1) returning order_id`
    return row?.order_id ?? ''
  }
  const end = async (id: string) => {
    const statement = documented('select end_unsent_order').replace('4711', id)
    const [row] = await entry.unsafe<{ end_unsent_order: boolean }[]>(statement)
    return row?.end_unsent_order
  }
  const setId = async (id: string, exchangeOrderId: string | null) => {
    const update = entry`update orders set exchange_order_id = ${exchangeOrderId} where order_id = ${id}`
    return await update.then(
      ({ count }) => count,
      err => err.code
    )
  }
  const unsent = await insert(null)
  const sent = await insert('a')
  t.equal(await end(unsent), true)
  t.equal(await end(unsent), false, 'there is nothing to end the second time')
  t.equal(await end(sent), false, 'an order with an id is not ended')
  const rows = await entry`select status, error_code from orders order by order_id`
  assertRows(t, rows, [
    { status: 'rejected', error_code: 'insufficient_balance' },
    { status: 'pending', error_code: null }
  ])
  const waiting = await insert(null)
  const [open] = await entry`select end_unsent_order(${waiting}, 'open') as ended`
  t.equal(open?.ended, false, 'only final states')

  t.equal(await setId(unsent, 'b'), '23514', 'an ended order gets no id')
  t.equal(await setId(sent, 'b'), '23514', 'an id is not changed')
  t.equal(await setId(sent, null), '23514', 'an id is not removed')
  t.equal(await setId(sent, 'a'), 1, 'the same id changes nothing')
  t.equal(await setId(waiting, ''), '23514', 'an empty text is no id')
  t.equal(await setId(waiting, 'a'), '23505', 'an id is that of one order')
  t.equal(await setId(waiting, 'c'), 1)

  await outcomeOf(
    owner,
    `insert into orders (account_id, market_type, exchange_order_id, symbol, exchange_symbol, origin, side, order_type,
      quantity, status)
    values (1, 'SPOT', 'd', 'BTCUSDT', 'BTCUSDT', 'external', 'BUY', 'LIMIT', 1, 'filled')`
  )
  await insert('d')
  const found = await entry`
    select origin, exchange_order_id, superseded_at is not null as superseded from orders
    where origin = 'external' or exchange_order_id = 'd' order by order_id`
  assertRows(t, found, [
    { origin: 'external', exchange_order_id: null, superseded: true },
    { origin: 'own', exchange_order_id: 'd', superseded: false }
  ])

  const invalid = ["'NaN', 1, null", "'Infinity', 1, null", "1, 'NaN', null", "1, null, '-Infinity'", '0, 1, null']
  for (const amounts of invalid) {
    const statement = `
      insert into orders (strategy_account_id, account_id, market_type, symbol, exchange_symbol, side, order_type,
        quantity, price, stop_price)
      values (1, 1, 'SPOT', 'BTCUSDT', 'BTCUSDT', 'BUY', 'LIMIT', ${amounts})`
    t.equal(await outcomeOf(entryUrl, statement), '23514', amounts)
  }
  t.equal(await outcomeOf(entryUrl, "update strategy_accounts set allocated_capital = 'NaN'"), '23514')
  await outcomeOf(
    owner,
    `insert into accounts (user_id, name, exchange, api_key_encrypted, api_secret_encrypted, key_id)
      values (1, 'other', 'BINANCE', '', '', 'none')`
  )
  for (const [account, createdAt, code] of [
    [1, 'infinity', '23514'],
    [1, '-infinity', '23514'],
    [1, '0044-03-15 BC', '23514'],
    [1, '10000-01-01', '23514'],
    [2, '2026-11-23', '23503']
  ] as const) {
    const statement = `
      insert into orders (strategy_account_id, account_id, market_type, symbol, exchange_symbol, side, order_type, quantity,
        created_at)
      values (1, ${account}, 'SPOT', 'BTCUSDT', 'BTCUSDT', 'BUY', 'LIMIT', 1, '${createdAt}')`
    t.equal(await outcomeOf(entryUrl, statement), code, `account ${account}, ${createdAt}`)
  }
})

t.test(
  'each role has the documented rights, and a new table and a new column of users give none',
  { skip },
  async t => {
    const { server, admin, owner, entry, reader } = await serverWithRoles(t)
    await migrate(owner, admin)
    await seed(owner)
    await outcomeOf(owner, 'create table later (secret text)')
    await outcomeOf(owner, 'alter table users add column later_secret text')
    t.equal(await outcomeOf(admin, 'grant all on users, sessions to trading_reader, trading_entry'), '[]')
    t.equal(await outcomeOf(admin, 'grant update (status) on orders to trading_entry'), '[]')
    t.equal(runRoles(admin), 'trading_service may use the tables.', 'rights that the file does not grant end')

    const accounts =
      'account_id created_at exchange is_active is_testnet name state updated_at user_id valuation_currency'
    const both = [
      ...['account_balance_history: all', 'account_balances: all', `accounts: ${accounts}`, 'funding_shares: all'],
      ...['instruments: all', 'ledger_entries: all', 'ledger_readings: all', 'orders: all', 'replaced_executions: all'],
      ...['strategies: all', 'strategy_accounts: all', 'strategy_capital: all', 'strategy_positions: all'],
      ...['trade_executions: all', 'users: is_active user_id username']
    ]
    const reports = [
      ...['balance_readings', 'book_checks', 'book_differences', 'book_totals', 'daily_account_summaries'],
      ...['equity_history', 'position_adjustments', 'strategy_performance']
    ].map(table => `${table}: all`)
    t.strictSame(await rightsOf(admin, 'trading_entry', 'select'), both)
    t.strictSame(await rightsOf(admin, 'trading_reader', 'select'), [...both, ...reports].sort())
    const writable = documentedColumns()
    t.strictSame(await rightsOf(admin, 'trading_entry', 'insert'), writable.inserted)
    t.strictSame(await rightsOf(admin, 'trading_entry', 'update'), writable.updated)
    for (const right of ['insert', 'update', 'references'] as const) {
      t.strictSame(await rightsOf(admin, 'trading_reader', right), [], right)
    }

    const secrets = [
      'select * from accounts',
      'select api_key_encrypted from accounts',
      'select passphrase_encrypted is null from accounts',
      'select key_id from accounts',
      'select * from users',
      'select password_hash from users',
      'select telegram_chat_id from users',
      'select * from sessions',
      'select * from api_tokens',
      'select * from sign_in_networks',
      'select * from audit_log',
      'select * from outbox',
      'select * from later'
    ]
    const writes = [
      'delete from orders',
      'truncate orders',
      "update orders set status = 'filled'",
      'update orders set filled_quantity = 1',
      "update orders set error_code = 'x'",
      "insert into orders (origin) values ('external')",
      "insert into orders (status) values ('filled')",
      'insert into trade_executions (order_id) values (1)',
      'update trade_executions set fee = 0',
      'delete from trade_executions',
      'update strategy_positions set quantity = 0',
      'update account_balances set total = 1',
      "insert into strategy_capital values (1, 1, '-infinity', 1, 'USDT')",
      'update strategy_accounts set account_id = 2',
      'delete from strategies',
      'update accounts set is_active = false',
      "update users set role = 'admin'",
      'insert into ledger_entries (account_id) values (1)',
      'do $$ begin lock table orders in access exclusive mode; end $$',
      'create table mine (id int)',
      'select delete_old_audit_rows(1)',
      'set role trading_owner'
    ]
    for (const statement of [...secrets, ...writes]) {
      t.equal(await outcomeOf(entry, statement), '42501', `trading_entry: ${statement}`)
      t.equal(await outcomeOf(reader, statement), '42501', `trading_reader: ${statement}`)
    }
    t.equal(await outcomeOf(reader, "select end_unsent_order(1, 'canceled')"), '42501')
    t.equal(
      await outcomeOf(reader, "insert into strategies (user_id, name, market_type) values (1, 'x', 'SPOT')"),
      '42501'
    )
    const powerful = "select from pg_roles where rolname like 'trading%' and (rolsuper or rolcreaterole or rolcreatedb)"
    t.equal(JSON.stringify(await server.query(powerful)), '[]')
  }
)

t.test('a poll reads executions that are committed late, and removals, through pgbouncer too', { skip }, async t => {
  const { admin, owner, reader: readerUrl } = await serverWithRoles(t)
  await migrate(owner, admin)
  await seed(owner)
  await outcomeOf(
    owner,
    `insert into orders (strategy_account_id, account_id, market_type, symbol, exchange_symbol, side, order_type, quantity)
    values (1, 1, 'SPOT', 'BTCUSDT', 'BTCUSDT', 'BUY', 'LIMIT', 9)`
  )
  const record = (sql: postgres.Sql | postgres.TransactionSql, tradeId: string) => sql`
    insert into trade_executions (order_id, strategy_account_id, account_id, market_type, exchange_trade_id, symbol, base,
      quote, side, price, quantity, executed_at)
    values (1, 1, 1, 'SPOT', ${tradeId}, 'BTCUSDT', 'BTC', 'USDT', 'BUY', 1, 1, now())`
  const url = pgbouncerAbsent === false ? await startPgbouncer(t, readerUrl) : readerUrl
  const copy = copyOf(connect(t, url))
  const writer = connect(t, owner)

  t.strictSame(await copy.poll(), [])
  let largest = 0n
  await writer.begin(async late => {
    await record(late, 'late')
    await record(connect(t, owner), 'early')
    t.strictSame(await copy.poll(), ['early'])
    largest = copy.largestId()
  })
  t.strictSame(await copy.poll(), ['early', 'late'])
  const [above] =
    await writer`select count(*)::int as rows from trade_executions where execution_id > ${String(largest)}`
  t.equal(above?.rows, 0, 'a poll above the largest id would never read it')

  await writer`update trade_executions set fee_value = 1, recorded_at = now() where exchange_trade_id = 'early'`
  await copy.poll()
  t.equal(copy.feeValueOf('early'), '1', 'a changed amount is read')
  await writer.begin(async tx => {
    await tx`
      insert into replaced_executions (execution_id, order_id, strategy_account_id, account_id, exchange_trade_id, currency,
        side, price, quantity, executed_at)
      select execution_id, order_id, strategy_account_id, account_id, exchange_trade_id, quote, side, price, quantity,
        executed_at
      from trade_executions where exchange_trade_id = 'late'`
    await tx`delete from trade_executions where exchange_trade_id = 'late'`
  })
  t.strictSame(await copy.poll(), ['early'])
  t.strictSame(await copy.poll(), ['early'], 'a poll without news changes nothing')
})

/** A copy of the executions, kept by the documented statements. */
function copyOf(sql: postgres.Sql) {
  const rows = new Map<string, { trade: string; fee: string | null; recorded: string }>()
  let removedAt = '-infinity'
  // As text, because a Date has no microseconds.
  const polled = documented('select * from trade_executions')
    .replace('*', '*, recorded_at::text as recorded')
    .replace('$1', '$1::text')
  const removed = documented('select execution_id, replaced_at')
    .replace('replaced_at', 'replaced_at::text as replaced')
    .replace('$1', '$1::text')
  return {
    poll: async () => {
      const since = [...rows.values()].map(({ recorded }) => recorded).sort()
      for (const row of await sql.unsafe(polled, [since.at(-1) ?? '-infinity'])) {
        const { execution_id, exchange_trade_id: trade, fee_value: fee, recorded } = row
        rows.set(String(execution_id), { trade, fee, recorded })
      }
      for (const row of await sql.unsafe(removed, [removedAt])) {
        rows.delete(String(row.execution_id))
        removedAt = String(row.replaced)
      }
      return [...rows.values()].map(({ trade }) => trade).sort()
    },
    largestId: () => [...rows.keys()].map(BigInt).reduce((largest, id) => (id > largest ? id : largest), 0n),
    feeValueOf: (trade: string) => [...rows.values()].find(row => row.trade === trade)?.fee
  }
}

/** The tables with a right for a role: `all`, or the columns. */
async function rightsOf(url: string, role: string, right: 'select' | 'insert' | 'update' | 'references') {
  const sql = postgres(url, { max: 1 })
  try {
    const rows = await sql<{ line: string }[]>`
      select relname || ': ' || case when has_table_privilege(${role}, c.oid, ${right}) then 'all'
        else string_agg(attname, ' ' order by attname) end as line
      from pg_class c join pg_attribute on attrelid = c.oid and attnum > 0 and not attisdropped
      where relnamespace = 'public'::regnamespace and relkind = 'r'
        and has_column_privilege(${role}, c.oid, attnum, ${right})
      group by c.oid, relname order by relname collate "C"`
    return rows.map(({ line }) => line)
  } finally {
    await sql.end()
  }
}

/** The columns that the order-entry side writes, as the document lists them. */
function documentedColumns() {
  const columnsOf = (cell = '') => [...cell.matchAll(/`(\w+)`/g)].map(([, column]) => column).sort()
  const [, rows = ''] = /^\| table \| `trading_entry` inserts \| updates \|\n.*\n((?:\|.*\n)+)/m.exec(DOCUMENT) ?? []
  const tables = rows
    .trim()
    .split('\n')
    .map(row => row.split('|').slice(1))
    .map(([name = '', inserted, updated]) => ({
      table: /\[(\w+)\]/.exec(name)?.[1] ?? '',
      ...{ inserted: columnsOf(inserted), updated: columnsOf(updated) }
    }))
    .sort((a, b) => (a.table < b.table ? -1 : 1))
  return {
    inserted: tables.map(({ table, inserted }) => `${table}: ${inserted.join(' ')}`),
    updated: tables.map(({ table, updated }) => `${table}: ${updated.join(' ')}`)
  }
}

/** A user with an account and a strategy on it, each with the id 1. */
async function seed(owner: string): Promise<void> {
  for (const statement of [
    "insert into users (username, password_hash) values ('ada', 'none')",
    `insert into accounts (user_id, name, exchange, api_key_encrypted, api_secret_encrypted, key_id)
      values (1, 'main', 'BINANCE', '', '', 'none')`,
    "insert into strategies (user_id, name, market_type) values (1, 'one', 'SPOT')",
    `insert into strategy_accounts (strategy_id, account_id, allocated_capital, capital_currency)
      values (1, 1, 1000, 'USDT')`
  ]) {
    const outcome = await outcomeOf(owner, statement)
    if (outcome !== '[]') throw new Error(`${statement}: ${outcome}`)
  }
}
