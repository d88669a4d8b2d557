import t from 'tap'
import type { ExchangeName } from '../../../src/domain/market.ts'
import { startApp, untilStatus } from '../../support/app.ts'
import { assertRows } from '../../support/assert-rows.ts'
import { createTestDatabase } from '../../support/database.ts'
import { adminOf } from '../../support/session.ts'
import { changingRows } from '../../support/simulated-exchange/edits.ts'
import { SimulatedExchange } from '../../support/simulated-exchange/simulated-exchange.ts'

const KEYS = { apiKey: 'KEYOFALICE', apiSecret: 'secretofalice', passphrase: 'passphrase' }
const STATE_FIELD = { BINANCE: 'status', BYBIT: 'orderStatus', OKX: 'state' } as const
const PRICE_FIELD = { BINANCE: 'price', BYBIT: 'lastPrice', OKX: 'last' } as const

t.test(
  'the health details show the number of invalid rows of each exchange until a later reading is clean',
  async t => {
    const { url: DATABASE_URL } = await createTestDatabase(t)
    const names = ['BINANCE', 'BYBIT', 'OKX'] as const
    const exchanges = await Promise.all(names.map(exchange => SimulatedExchange.start({ exchange })))
    t.teardown(() => Promise.all(exchanges.map(exchange => exchange.close())))
    const settings = Object.assign({}, ...exchanges.map(({ urls }) => urls))
    const { app, url } = await startApp(t, { DATABASE_URL, PROBE_PORT: 'off', ...settings })
    await untilStatus(`${url}/health/startup`, 200)
    const admin = await adminOf(app)
    const shown = async (exchange: ExchangeName) => {
      const { answer } = await admin.send('GET', '/api/system/health/details')
      const { checks, exchanges } = answer as {
        checks: { name: string; status: string; code: string | null }[]
        exchanges: { exchange: string; invalid_rows: number }[]
      }
      const check = checks.find(({ name }) => name === `exchange_${exchange.toLowerCase()}`)
      const report = exchanges.find(one => one.exchange === exchange)
      return { status: check?.status, code: check?.code, rows: report?.invalid_rows }
    }
    const clean = { status: 'ok', code: null, rows: 0 }
    const degraded = (rows: number) => ({ status: 'degraded', code: 'invalid_answer', rows })
    for (const [index, exchange] of names.entries()) {
      const simulated = exchanges[index]
      if (simulated === undefined) throw new Error('no exchange')
      const market = { exchange, marketType: 'SPOT' } as const
      const refresh = () => app.caches.prices.refresh(market)
      await refresh()
      t.strictSame(await shown(exchange), clean)

      const account = simulated.addAccount(KEYS)
      const orders = [0, 1, 2].map(() => simulated.place(account, { quantity: '1' }))
      const client = await app.exchanges.client({ ...market, credentials: KEYS, accountId: '9007199254740993' })
      const open = () => client.openOrders({ onInvalidRow: () => {} })
      const edits = { side: exchange === 'BINANCE' ? 'BUY' : exchange === 'OKX' ? 'buy' : 'Buy' }
      simulated.fault({ kind: 'edited', edit: changingRows(edits, { [STATE_FIELD[exchange]]: 'UNKNOWN_STATE' }) })
      t.strictSame(await open(), [])
      t.strictSame(await shown(exchange), degraded(orders.length))
      simulated.clearFaults()
      simulated.setPrice('SPOT', 'ETHUSDT', '2000')
      const symbol = { [exchange === 'OKX' ? 'instId' : 'symbol']: simulated.exchangeSymbol('BTCUSDT', 'SPOT') }
      simulated.fault(
        { kind: 'edited', edit: changingRows(symbol, { [PRICE_FIELD[exchange]]: 'NaN' }) },
        { path: /ticker/ }
      )
      t.equal(await refresh(), 4, 'the other prices')
      t.equal(app.caches.prices.peek(exchange, 'SPOT', 'ETHUSDT')?.price, '2000')
      t.strictSame(await shown(exchange), degraded(orders.length + 1))
      t.equal((await open()).length, 3)
      t.strictSame(await shown(exchange), degraded(1), 'a clean list of orders does not end what the prices have')
      simulated.clearFaults()
      await refresh()
      t.strictSame(await shown(exchange), clean)

      simulated.fault({ kind: 'edited', edit: () => '{"retCode":0,"code":"0"}' }, { times: 1 })
      await t.rejects(client.balances(), { code: 'invalid_answer' })
      await refresh()
      t.strictSame(await shown(exchange), degraded(1), 'an unreadable signed answer, although a later call succeeded')
      await client.balances()
      t.strictSame(await shown(exchange), clean)

      await app.invalidRowRecorder.flush()
      const stored = await app.db.run(
        sql => sql<{ excerpt: string }[]>`
          select operation, account_id, kind, reason, times::int, excerpt, last_seen between first_seen and now() as is_past
          from invalid_rows where exchange = ${exchange} and market_type = 'SPOT' order by operation`
      )
      const own = { account_id: '9007199254740993', kind: 'unreadable', is_past: true }
      assertRows(t, stored, [
        { ...own, operation: 'balances', times: 1 },
        { ...own, operation: 'lastPrices', times: 1, account_id: null, reason: 'a price is not a number' },
        { ...own, operation: 'openOrders', times: 3, reason: `${STATE_FIELD[exchange]} is unknown` }
      ])
      t.notOk(stored.some(({ excerpt }) => excerpt.includes(KEYS.apiKey) || excerpt.includes(KEYS.apiSecret)))
    }
  }
)
