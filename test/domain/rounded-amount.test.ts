import { Big } from 'big.js'
import fc from 'fast-check'
import t from 'tap'
import { roundedAmount, roundedDifference } from '../../src/domain/rounded-amount.ts'

t.test('amounts are rounded half to even: KRW without decimals, USD with two, BTC with eight', async t => {
  t.strictSame(
    [
      ['1234567.5', 'KRW'],
      ['1234568.5', 'KRW'],
      ['-0.4', 'KRW'],
      ['10.125', 'USDT'],
      ['10.135', 'USDC'],
      ['-0.00499', 'USD'],
      ['12.50', 'USDT'],
      ['0.123456785', 'BTC'],
      ['0.123456775', 'ETH'],
      ['1e-9', 'BTC'],
      ['7.333333333333333333333333', 'constructor']
    ].map(([value = '', currency = '']) => roundedAmount(value, currency)),
    ['1234568', '1234568', '0', '10.12', '10.14', '0', '12.5', '0.12345678', '0.12345678', '0', '7.33333333']
  )
})

t.test('a difference keeps its first digit', async t => {
  t.strictSame(
    ['-5000', '0.00000001', '0.0000000012345', '-0.000000000000000000000004', '1.234567885', 'a <name>'].map(
      roundedDifference
    ),
    ['-5000', '0.00000001', '0.000000001', '-0.000000000000000000000004', '1.23456788', 'a <name>']
  )
})

t.test('a rounded amount is at most half a unit away, and has no more decimals', async t => {
  const amounts = fc.tuple(fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }), fc.integer({ min: 0, max: 24 }))
  const { failed, counterexample } = fc.check(
    fc.property(
      amounts,
      fc.constantFrom(['KRW', 0] as const, ['USDT', 2] as const, ['BTC', 8] as const),
      (amount, unit) => {
        const [digits, scale] = amount
        const [currency, decimals] = unit
        const value = new Big(digits.toString()).times(new Big(10).pow(-scale))
        const text = roundedAmount(value.toFixed(), currency)
        return (
          (/\.(\d+)$/.exec(text)?.[1]?.length ?? 0) <= decimals &&
          new Big(text).minus(value).abs().lte(new Big(10).pow(-decimals).div(2)) &&
          text !== '-0'
        )
      }
    )
  )
  t.equal(
    failed,
    false,
    JSON.stringify(counterexample, (_, value) => String(value))
  )
})
