// What a refusal is about: the clock, the key, one market, or the country; over real HTTP.
import t from 'tap'
import type { Database } from '../../src/database/database.ts'
import { assertRows } from '../support/assert-rows.ts'
import { orderBench } from '../support/order-bench.ts'
import type { Fault } from '../support/simulated-exchange/simulated-exchange.ts'
import { tradingDatabase } from '../support/trading.ts'

let database: Database
t.before(async () => {
  database = await tradingDatabase(t)
})

const refusal = (status: number, body: unknown): Fault => ({ kind: 'status', status, body: JSON.stringify(body) })

const CLOCK = {
  BINANCE: refusal(400, { code: -1021, msg: 'Timestamp for this request is outside of the recvWindow.' }),
  BYBIT: refusal(200, { retCode: 10002, retMsg: 'invalid request, please check your server timestamp', result: {} }),
  OKX: refusal(401, { code: '50102', msg: 'Timestamp request expired', data: [] }),
  BITHUMB: refusal(401, { error: { name: 'expired_jwt', message: 'expired' } })
}
const SIGNED = /order/i

for (const exchange of ['BINANCE', 'BYBIT', 'OKX', 'BITHUMB'] as const) {
  t.test(
    `${exchange}: an error of the clock is retried with a new offset, and is never a refusal of the keys`,
    async t => {
      const { exchange: simulated, place, run, books, accounts, registry } = await orderBench(t, database, exchange)
      simulated.fill(await place({ market: 'SPOT', quantity: '1' }), { quantity: '1', price: '100' })
      simulated.fault(CLOCK[exchange], { path: SIGNED, times: 2 })
      t.hasStrict(await run(), { checked: 1, fills: 1, failed: 0, accounts_refused: 0 }, 'the third attempt succeeds')
      const paths = simulated.requests.map(({ path }) => SIGNED.test(path))
      t.strictSame(paths.slice(0, 5), [true, false, true, false, true], 'the clock is read before each new attempt')
      assertRows(t, (await books()).orders, [{ status: 'filled' }])

      await place({ market: 'SPOT', quantity: '1' })
      simulated.fault(CLOCK[exchange], { path: SIGNED })
      t.hasStrict(await run(), { checked: 0, failed: 1, accounts_refused: 0 })
      t.equal(registry.status()[0]?.lastErrorCode, 'clock')
      t.strictSame(accounts.refusals, [])
    }
  )
}

/** Refusals of the calls of futures. */
const FUTURES_REFUSALS = {
  BINANCE: { path: /^\/fapi/, fault: refusal(401, { code: -2015, msg: 'Invalid API-key, IP, or permissions' }) },
  BYBIT: { query: /category=linear/, fault: refusal(200, { retCode: 10005, retMsg: 'Permission denied', result: {} }) },
  OKX: { query: /instType=SWAP/, fault: refusal(401, { code: '50120', msg: 'No permission', data: [] }) }
}

for (const exchange of ['BINANCE', 'BYBIT', 'OKX'] as const) {
  t.test(`${exchange}: a refusal by futures alone does not stop the orders of spot`, async t => {
    const { exchange: simulated, place, run, books, accounts } = await orderBench(t, database, exchange)
    for (const market of ['SPOT', 'FUTURES'] as const) {
      simulated.fill(await place({ market, quantity: '1' }), { quantity: '1', price: '100' })
    }
    const { fault, ...requests } = FUTURES_REFUSALS[exchange]
    simulated.fault(fault, requests)
    t.hasStrict(await run(), { checked: 1, fills: 1, failed: 1 })
    t.hasStrict(await run(), { checked: 0, failed: 1 })
    t.strictSame(accounts.refusals, [], 'the account is not refused')
    simulated.clearFaults()
    t.hasStrict(await run(), { checked: 1, fills: 1, failed: 0 })
    t.strictSame(
      (await books()).orders.map(({ status }) => status),
      ['filled', 'filled']
    )
  })
}

const COUNTRY = '<html>The Amazon CloudFront distribution is configured to block access from your country.</html>'

for (const [exchange, status, body] of [
  ['BYBIT', 403, COUNTRY],
  ['OKX', 403, COUNTRY],
  ['BINANCE', 451, '{"code":0,"msg":"Service unavailable from a restricted location according to the terms"}']
] as const) {
  t.test(`${exchange}: a refusal because of the country is no refusal of the keys and no rate limit`, async t => {
    const { exchange: simulated, place, run, accounts, registry } = await orderBench(t, database, exchange)
    await place({ market: 'SPOT', quantity: '1' })
    simulated.fault({ kind: 'status', status, body })
    t.hasStrict(await run(), { checked: 0, failed: 1, accounts_refused: 0 })
    t.hasStrict(registry.status()[0], { lastErrorCode: 'location_refused', blockedForMs: 0 })
    t.strictSame(accounts.refusals, [])
  })
}
