import fc from 'fast-check'
import t from 'tap'
import { Exact } from '../../src/domain/decimal.ts'
import {
  applyChange,
  feeValueOf,
  type Holding,
  NOTHING_HELD,
  quantityChange
} from '../../src/trading/position-accounting.ts'

const holding = (quantity: string, entryPrice: string | null): Holding => ({
  quantity: new Exact(quantity),
  entryPrice: entryPrice === null ? null : new Exact(entryPrice)
})

function textsOf({ holding, realizedPnl }: ReturnType<typeof applyChange>) {
  return [holding.quantity.toFixed(), holding.entryPrice?.toFixed() ?? null, realizedPnl?.toFixed() ?? null]
}

const step = (held: Holding, change: string, price: string) =>
  textsOf(applyChange(held, new Exact(change), new Exact(price)))

t.test('a trade adds at its price, reduces at the average, and opens the other side at its price', async t => {
  t.strictSame(step(NOTHING_HELD, '0', '10'), ['0', null, null])
  t.strictSame(step(NOTHING_HELD, '2', '10'), ['2', '10', null])
  t.strictSame(step(holding('2', '10'), '2', '20'), ['4', '15', null])
  t.strictSame(step(holding('4', '15'), '-1', '25'), ['3', '15', '10'])
  t.strictSame(step(holding('4', '15'), '-4', '25'), ['0', null, '40'])
  t.strictSame(step(holding('4', '15'), '-5', '25'), ['-1', '25', '40'])
  t.strictSame(step(holding('-2', '10'), '-2', '20'), ['-4', '15', null])
  t.strictSame(step(holding('-4', '15'), '1', '25'), ['-3', '15', '-10'])
  t.strictSame(step(holding('-4', '15'), '6', '5'), ['2', '5', '40'])
  t.strictSame(step(holding('4', '15'), '0', '25'), ['4', '15', null])
})

t.test('an average with infinitely many decimals is rounded half to even at twenty', async t => {
  t.strictSame(step(holding('1', '1'), '2', '2'), ['3', '1.66666666666666666667', null])
})

t.test('a base fee reduces only a spot holding', async t => {
  const bought = { side: 'BUY' as const, price: '10', quantity: '2', fee: '0.1', feeAsset: 'BTC' }
  t.equal(quantityChange(bought, 'SPOT', 'BTC').toFixed(), '1.9')
  t.equal(quantityChange({ ...bought, side: 'SELL' }, 'SPOT', 'BTC').toFixed(), '-2.1')
  t.equal(quantityChange({ ...bought, fee: '-0.1' }, 'SPOT', 'BTC').toFixed(), '2.1', 'a rebate increases it')
  t.equal(quantityChange({ ...bought, feeAsset: 'USDT' }, 'SPOT', 'BTC').toFixed(), '2')
  t.equal(quantityChange(bought, 'FUTURES', 'BTC').toFixed(), '2')
})

t.test('a fee is valued in the quote currency, or not at all', async t => {
  const parts = { base: 'BTC', quote: 'USDT' }
  const priceOf = (asset: string) => (asset === 'BNB' ? '600' : null)
  const value = (fee: string, feeAsset: string | null) => feeValueOf({ fee, feeAsset, price: '100' }, parts, priceOf)
  t.equal(value('0.5', 'USDT'), '0.5')
  t.equal(value('-0.5', 'USDT'), '-0.5')
  t.equal(value('0.5', 'BTC'), '50')
  t.equal(value('0.5', 'BNB'), '300')
  t.equal(value('0.5', 'XYZ'), null)
  t.equal(value('0', 'XYZ'), '0', 'a fee of zero in an unknown asset is zero')
  t.equal(value('0', null), null, 'a fee without an asset is unknown, even if it is zero')
})

t.test('for any trades, realised plus unrealised PnL equals cash flow plus value', async () => {
  const decimal = (max: number) => fc.integer({ min: 1, max }).map(units => new Exact(units).div(10_000))
  const trades = fc.array(fc.tuple(fc.boolean(), decimal(9_999_999), decimal(99_999_999)), { maxLength: 40 })
  fc.assert(
    fc.property(trades, decimal(99_999_999), (steps, mark) => {
      let held = NOTHING_HELD
      let [realized, cash, tolerance] = [new Exact(0), new Exact(0), new Exact(0)]
      for (const [buys, quantity, price] of steps) {
        const change = buys ? quantity : quantity.neg()
        const result = applyChange(held, change, price)
        held = result.holding
        realized = realized.plus(result.realizedPnl ?? 0)
        cash = cash.minus(change.times(price))
        tolerance = tolerance.plus(held.quantity.abs().times('0.5e-20'))
      }
      const unrealized = held.entryPrice === null ? new Exact(0) : mark.minus(held.entryPrice).times(held.quantity)
      const off = realized.plus(unrealized).minus(cash).minus(mark.times(held.quantity)).abs()
      return off.lte(tolerance)
    })
  )
})
