import t from 'tap'
import {
  decimalOf,
  isRecord,
  millisOf,
  optionalDecimal,
  optionalMillis,
  optionalText,
  optionalTime,
  parseLossless,
  priceOf,
  recordOf,
  rowsOf,
  textOf,
  toMillis
} from '../../../src/exchanges/http/answer-fields.ts'

const unreadable = (message: string) => ({ name: 'UnreadableAnswer', message })

t.test('numbers are read as they are written', async t => {
  t.strictSame(parseLossless('{"id":9007199254740993,"price":1.4E-7,"name":"0.10","no":null,"yes":true}'), {
    id: '9007199254740993',
    price: '1.4E-7',
    name: '0.10',
    no: null,
    yes: true
  })
  t.throws(() => parseLossless('<html>secret</html>'), unreadable('not JSON'))
})

t.test('a record is an object, not an array', async t => {
  t.ok(isRecord({}))
  for (const value of [null, undefined, [], 'text', 1, true]) {
    t.notOk(isRecord(value), JSON.stringify(value))
    t.throws(() => recordOf(value, 'the answer'), unreadable('the answer is not an object'))
  }
  const record = { a: '1' }
  t.equal(recordOf(record, 'the answer'), record)
})

t.test('rows are an array of records', async t => {
  t.strictSame(rowsOf([], 'fills'), [])
  t.strictSame(rowsOf([{ a: '1' }, {}], 'fills'), [{ a: '1' }, {}])
  for (const value of [{}, null, 'text', undefined])
    t.throws(() => rowsOf(value, 'fills'), unreadable('fills is not an array'))
  t.throws(() => rowsOf([{}, []], 'fills'), unreadable('a row of fills is not an object'))
})

t.test('a text has at most 256 characters', async t => {
  const long = 'a'.repeat(256)
  t.equal(optionalText({ a: long }, 'a'), long)
  t.equal(optionalText({ a: true }, 'a'), 'true')
  t.equal(optionalText({ a: false }, 'a'), 'false')
  for (const a of [undefined, null, '']) {
    t.equal(optionalText({ a }, 'a'), null)
    t.throws(() => textOf({ a }, 'a'), unreadable('a is missing'))
  }
  for (const a of [`${long}a`, {}, [], 1]) t.throws(() => textOf({ a }, 'a'), unreadable('a is not a short text'))
  t.equal(textOf({ a: 'b' }, 'a'), 'b')
})

t.test('a decimal is a number, a price is a number other than zero', async t => {
  t.equal(decimalOf({ a: '1.50' }, 'a'), '1.50')
  t.equal(decimalOf({ a: '0.0' }, 'a'), '0.0')
  t.equal(priceOf({ a: '1.50' }, 'a'), '1.50')
  t.equal(priceOf({ a: '0.0' }, 'a'), null)
  for (const a of [undefined, null, '']) {
    t.equal(optionalDecimal({ a }, 'a'), null)
    t.equal(priceOf({ a }, 'a'), null)
    t.throws(() => decimalOf({ a }, 'a'), unreadable('a is missing'))
  }
  for (const read of [decimalOf, optionalDecimal, priceOf])
    t.throws(() => read({ a: '1,5' }, 'a'), unreadable('a is not a number'))
})

t.test('milliseconds are whole, positive and not after the year 9999', async t => {
  t.equal(toMillis('1', 'at'), 1)
  t.equal(toMillis('253402300799999', 'at'), 253_402_300_799_999)
  for (const text of ['0', '0000']) t.equal(toMillis(text, 'at'), null, text)
  for (const text of ['253402300800000', '12345678901234567', '-1', '1.5', '', 'x'])
    t.throws(() => toMillis(text, 'at'), unreadable('at is not a time'), text)
  t.equal(millisOf({ at: '1' }, 'at'), 1)
  t.equal(optionalMillis({ at: '1' }, 'at'), 1)
  for (const at of [undefined, null, '', '0']) {
    t.equal(optionalMillis({ at }, 'at'), null)
    t.throws(() => millisOf({ at }, 'at'), unreadable('at is missing'))
  }
})

t.test('an ISO 8601 time is read with its offset', async t => {
  t.equal(optionalTime({ at: '1970-01-01T09:00:01+09:00' }, 'at'), 1_000)
  t.equal(optionalTime({ at: '' }, 'at'), null)
  t.equal(optionalTime({}, 'at'), null)
  t.throws(() => optionalTime({ at: 'soon' }, 'at'), unreadable('at is not a time'))
})
