import t from 'tap'
import { assertRows, namedFields } from './assert-rows.ts'

t.test('each row is reduced to the fields of its expected row', async t => {
  const rows = [
    { id: 1, pnl: '-1110.5', at: 'now' },
    { id: 2, pnl: null, at: 'now' }
  ]
  const expected = [{ pnl: '-1110.5' }, { id: 2, pnl: null }]
  t.strictSame(namedFields(rows, expected), expected)
  assertRows(t, rows, expected)
})

t.test('surplus rows, other values and missing fields are kept', async t => {
  t.strictSame(namedFields([{ id: 1 }, { id: 2 }], [{ id: 1 }]), [{ id: 1 }, { id: 2 }])
  t.strictSame(namedFields([{ pnl: '-1110.5' }], [{ pnl: '11' }]), [{ pnl: '-1110.5' }])
  t.strictSame(namedFields([{ id: 1 }], [{ name: 'a' }]), [{ name: undefined }])
  t.strictSame(namedFields([], [{ id: 1 }]), [])
  t.strictSame(namedFields([null, 'text'], [{ id: 1 }, { id: 2 }]), [null, 'text'])
  t.equal(namedFields(undefined, []), undefined)
})
