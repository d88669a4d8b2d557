import t from 'tap'
import { Exact, isZero, negated, toDecimal } from '../../src/domain/decimal.ts'

t.test('a JSON number keeps its spelling, an exponent is expanded', async t => {
  for (const text of ['0', '-0', '0.10', '-12.500', `1${'0'.repeat(39)}`, `0.${'0'.repeat(39)}1`])
    t.equal(toDecimal(text), text)
  t.equal(toDecimal('1.4E-7'), '0.00000014')
  t.equal(toDecimal('-2e+3'), '-2000')
  t.equal(toDecimal('5e12'), '5000000000000')
  t.equal(toDecimal('1e99')?.length, 100)
})

t.test('other texts are not decimals', async t => {
  const wrong = ['', ' 1', '1 ', '+1', '01', '1.', '.5', 'NaN', '1,5', '0x1', '1e', '1e100', '--1', '1e1.5', 'e5']
  for (const text of [...wrong, `1${'0'.repeat(40)}`, `0.${'0'.repeat(41)}`]) t.equal(toDecimal(text), null, text)
})

t.test('every spelling of zero is zero', async t => {
  for (const text of ['0', '-0', '0.0', '-0.000']) t.ok(isZero(text), text)
  for (const text of ['0.01', '1', '-1', '10', '0.10', '']) t.notOk(isZero(text), text)
})

t.test('a negated decimal keeps its digits, zero is unchanged', async t => {
  t.equal(negated('1.50'), '-1.50')
  t.equal(negated('-1.50'), '1.50')
  t.equal(negated('0.00'), '0.00')
  t.equal(negated('-0.00'), '-0.00')
})

t.test('quotients have twenty decimal places, rounded half to even', async t => {
  t.equal(new Exact(1).div(3).toFixed(), '0.33333333333333333333')
  t.equal(new Exact('0.00000000000000000001').div(2).toFixed(), '0')
  t.equal(new Exact('0.00000000000000000003').div(2).toFixed(), '0.00000000000000000002')
})
