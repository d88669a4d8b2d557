// What triggers notify the order-entry side of: docs/order-entry.md, "Notifications".
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { migratedDatabase } from '../support/migrated-database.ts'

/** Orders of accounts with the ids from 1 on, and what is received on both channels. */
async function listening(t: Test, accounts: number) {
  const { url } = await migratedDatabase(t)
  const sql = postgres(url, { max: 3, onnotice: () => undefined })
  t.teardown(() => sql.end({ timeout: 1 }))
  await sql`insert into users (username, password_hash) values ('ada', 'none')`
  await sql`
    insert into accounts (user_id, name, exchange, api_key_encrypted, api_secret_encrypted, key_id)
    select 1, 'a' || n, 'UPBIT', '', '', 'none' from generate_series(1, ${accounts}::int) n`
  await sql`insert into strategies (user_id, name, market_type) values (1, 'one', 'SPOT')`
  await sql`
    insert into strategy_accounts (strategy_id, account_id, allocated_capital, capital_currency)
    select 1, account_id, 1, 'KRW' from accounts order by account_id`
  await sql`
    insert into orders (strategy_account_id, account_id, market_type, exchange_order_id, symbol, exchange_symbol, side,
      order_type, quantity)
    select strategy_account_id, account_id, 'SPOT', 'o' || account_id, 'BTCKRW', 'KRW-BTC', 'BUY', 'LIMIT', 5000
    from strategy_accounts order by account_id`
  const received: string[] = []
  let ended = () => {}
  const channels = ['trading_executions', 'trading_order_states', 'end_of_test']
  for (const channel of channels) {
    await sql.listen(channel, payload => {
      if (channel === 'end_of_test') ended()
      else received.push(`${channel} ${payload}`)
    })
  }
  return {
    sql,
    /** What was received since the last call. Notifications arrive in the order of their commits. */
    drained: async () => {
      const end = new Promise<void>(resolve => {
        ended = resolve
      })
      await sql.notify('end_of_test', '')
      await end
      return received.splice(0)
    }
  }
}

const recorded = (sql: postgres.Sql, each: number) => sql`
  insert into trade_executions (order_id, strategy_account_id, account_id, market_type, exchange_trade_id, symbol, base,
    quote, side, price, quantity, executed_at)
  select order_id, strategy_account_id, account_id, 'SPOT', order_id || '-' || n, symbol, 'BTC', 'KRW', side, 1, 1, now()
  from orders, generate_series(1, ${each}::int) n order by order_id, n`

t.test('thousands of executions in one statement are one notification, and so is their removal', async t => {
  const { sql, drained } = await listening(t, 2)
  t.strictSame(await drained(), [], 'the insert of own orders sends nothing')
  await recorded(sql, 1_500)
  const ids = { first_execution_id: '1', last_execution_id: '3000', account_ids: ['1', '2'] }
  const payload = (event: string) => `trading_executions ${JSON.stringify({ event, rows: 3_000, ...ids })}`
  t.strictSame((await drained()).map(withoutSpaces), [payload('recorded')])
  await sql`delete from trade_executions`
  t.strictSame((await drained()).map(withoutSpaces), [payload('removed')])
})

t.test('the payload of executions of many accounts has no list of accounts', async t => {
  const { sql, drained } = await listening(t, 101)
  await recorded(sql, 1)
  const ids = { first_execution_id: '1', last_execution_id: '101', account_ids: null }
  t.strictSame((await drained()).map(withoutSpaces), [
    `trading_executions ${JSON.stringify({ event: 'recorded', rows: 101, ...ids })}`
  ])
  await sql`delete from trade_executions where account_id = 101`
  await drained()
  await sql`delete from trade_executions`
  const [removed = ''] = await drained()
  const { account_ids } = JSON.parse(removed.slice('trading_executions '.length))
  t.equal(account_ids.length, 100)
  t.ok(removed.length < 8_000, `a payload has at most 8,000 bytes: ${removed.length}`)
})

t.test('states are notified once for each transaction, and the times of checks are not', async t => {
  const { sql, drained } = await listening(t, 50)
  await sql`update orders set last_checked_at = now(), base = 'BTC'`
  await recorded(sql, 0)
  await sql`delete from trade_executions`
  t.strictSame(await drained(), [], 'neither checks nor statements without rows')
  await sql.begin(async tx => {
    await tx`update orders set status = 'open'`
    await tx`update orders set filled_quantity = 1 where account_id = 1`
  })
  t.strictSame(await drained(), ['trading_order_states '])
  await sql
    .begin(async tx => {
      await tx`update orders set status = 'canceled'`
      throw new Error('rolled back')
    })
    .catch(() => undefined)
  t.strictSame(await drained(), [], 'nothing of what was rolled back')
})

/** `json_build_object` writes spaces. */
const withoutSpaces = (text: string) => text.replace(/ : /g, ':').replaceAll(/, /g, ',')
