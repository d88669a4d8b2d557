// Prices, balances and orders, end to end on each exchange: from the operator's commands through the jobs.
import { Big } from 'big.js'
import postgres from 'postgres'
import t from 'tap'
import { EXCHANGE_NAMES } from '../../src/domain/market.ts'
import { CATALOGUE } from '../../src/exchanges/catalogue.ts'
import { untilStatus } from '../support/app.ts'
import { runCommand } from '../support/command.ts'
import { createTestDatabase } from '../support/database.ts'
import { startService } from '../support/service.ts'
import { Client } from '../support/session.ts'
import { SimulatedExchange } from '../support/simulated-exchange/simulated-exchange.ts'

const PASSWORD = 'correct horse battery'

t.test('the jobs update prices, balances and orders on every exchange', async t => {
  const { url } = await createTestDatabase(t)
  const exchanges = await Promise.all(EXCHANGE_NAMES.map(exchange => SimulatedExchange.start({ exchange })))
  t.teardown(() => Promise.all(exchanges.map(exchange => exchange.close())))
  const urls: Record<string, string> = Object.assign({}, ...exchanges.map(({ urls }) => urls))
  const service = await startService(t, { DATABASE_URL: url, SCHEDULER_ENABLED: 'false', ...urls })
  await untilStatus(`${service.main}/health/startup`, 200)
  const sql = postgres(url, { max: 1 })
  t.teardown(() => sql.end())
  const command = (lines: string[], ...words: string[]) => runCommand({ DATABASE_URL: url, ...urls }, lines, ...words)
  t.hasStrict(await command([PASSWORD], 'user:create', 'ada', '--admin'), { code: 0 })
  const admin = new Client(service.main)
  await admin.signIn('ada', PASSWORD)
  const trigger = async (job_type: string) => {
    const { status, answer } = await admin.send('POST', '/api/system/trigger-job', { job_type })
    t.equal(status, 200, `${job_type}: ${JSON.stringify(answer)}`)
    return answer.result as Record<string, unknown>
  }

  for (const exchange of exchanges) {
    t.test(exchange.exchange, async t => {
      const { needsPassphrase, quoteCurrencies, wallets } = CATALOGUE[exchange.exchange]
      const [quote = ''] = quoteCurrencies
      const secrets = { apiKey: `key-${exchange.exchange}`, apiSecret: 'a secret of sixteen' }
      const account = exchange.addAccount({ ...secrets, ...(needsPassphrase && { passphrase: 'a phrase' }) })
      const added = await command(
        [...Object.values(secrets), ...(needsPassphrase ? ['a phrase'] : [])],
        ...['account:add', '--user', 'ada', '--exchange', exchange.exchange, '--name', exchange.exchange]
      )
      t.hasStrict(added, { code: 0 }, added.stderr)
      for (const market of exchange.markets) exchange.setBalance(account, market, quote, '5000000.000000001')

      const [owner] = await sql<{ strategy_account_id: string; account_id: string }[]>`
        with strategy as (
          insert into strategies (user_id, name, market_type) select user_id, 'one', 'SPOT' from users returning strategy_id
        )
        insert into strategy_accounts (strategy_id, account_id, allocated_capital, capital_currency)
        select strategy_id, account_id, 1000, ${quote} from strategy, accounts where name = ${exchange.exchange}
        returning strategy_account_id, account_id`
      if (!owner) throw new Error('no account')

      for (const market of exchange.markets) {
        const [symbol = ''] = exchange.symbols
        const order = exchange.place(account, { market, symbol, quantity: '2', price: '100' })
        await sql`
          insert into orders (strategy_account_id, account_id, market_type, exchange_order_id, symbol, exchange_symbol,
            side, order_type, price, quantity, status)
          values (${owner.strategy_account_id}, ${owner.account_id}, ${market}, ${order.exchangeOrderId}, ${symbol},
            ${order.exchangeSymbol}, 'BUY', 'LIMIT', 100, 2, 'open')`

        await t.test(`an order on ${market} is filled in two steps, and the position is marked`, async t => {
          const read = async () => {
            const [row] = await sql`
              select o.status, o.filled_quantity, count(e)::int as fills, sum(e.quantity) as filled
              from orders o left join trade_executions e using (order_id)
              where exchange_order_id = ${order.exchangeOrderId} and o.account_id = ${owner.account_id} group by o.order_id`
            return row
          }
          exchange.fill(order, { quantity: '0.5', price: '99' })
          await trigger('update_orders')
          t.hasStrict(await read(), { status: 'partially_filled', fills: 1, filled: '0.5' })
          exchange.fill(order)
          await trigger('update_orders')
          await trigger('update_orders')
          t.hasStrict(await read(), { status: 'filled', fills: 2 })
          t.ok(new Big(String((await read())?.filled)).eq(2))
          exchange.setPrice(market, symbol, '130')
          await trigger('update_prices')
          await trigger('calculate_pnl')
          const [position] = await sql`
            select quantity, entry_price, mark_price, unrealized_pnl from strategy_positions
            where strategy_account_id = ${owner.strategy_account_id} and market_type = ${market}`
          t.ok(new Big(String(position?.quantity)).eq(2), 'a fee in the quote currency does not change the quantity')
          t.ok(new Big(String(position?.entry_price)).eq('99.75'))
          t.ok(new Big(String(position?.mark_price)).eq(130))
          t.ok(new Big(String(position?.unrealized_pnl)).eq('60.5'))
        })
      }

      await t.test('balances are stored with all digits', async t => {
        await trigger('sync_balances')
        for (const market of wallets) {
          // On a unified account both markets use one wallet.
          const held = wallets.length === 1 ? exchange.markets : [market]
          const expected = held.reduce((sum, one) => {
            const { free = '0', locked = '0' } = account.balances[one].get(quote) ?? {}
            return sum.plus(free).plus(locked)
          }, new Big(0))
          const [row] = await sql`
            select total from account_balances
            where account_id = ${owner.account_id} and market_type = ${market} and asset = ${quote}`
          t.equal(new Big(String(row?.total)).toFixed(), expected.toFixed(), market)
        }
      })

      await t.test('refused keys are recorded, and no output contains a secret', async t => {
        account.state = 'revoked'
        const tested = await command([], 'account:test', owner.account_id)
        t.match(tested, { code: 1, stdout: / authentication/ })
        t.hasStrict(await trigger('sync_balances'), { refused: 1 })
        const [row] = await sql`select state from accounts where account_id = ${owner.account_id}`
        t.equal(row?.state, 'credentials_refused')
        t.hasStrict(await trigger('sync_balances'), { refused: 0 }, 'the account is not checked for some time')
        account.state = 'ok'
        t.match(await command([], 'account:test', owner.account_id), { code: 0, stdout: / balances +ok/ })
        const listed = await command([], 'account:list')
        const [everything] = await sql`select json_agg(audit_log)::text as audit from audit_log`
        const output = [
          service.text(),
          JSON.stringify(service.log),
          tested.stdout,
          listed.stdout,
          String(everything?.audit)
        ]
        for (const secret of [...Object.values(secrets), 'a phrase', 'signature=']) {
          t.notOk(
            output.some(text => text.includes(secret)),
            'no secret in the log, the output of commands, or the audit log'
          )
        }
      })

      await t.test('the prices of its markets are in the cache', async t => {
        const { answer } = await admin.send('GET', '/api/system/cache-stats')
        for (const market_type of exchange.markets) {
          const { exchanges: markets } = answer.price_cache as { exchanges: Record<string, unknown>[] }
          const own = markets.find(one => one.exchange === exchange.exchange && one.market_type === market_type)
          t.ok(Number(own?.entries) >= exchange.symbols.length, `${market_type} ${JSON.stringify(own)}`)
        }
      })
    })
  }
})
