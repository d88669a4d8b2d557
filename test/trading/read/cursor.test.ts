import t from 'tap'
import { cursorOf, type KeyType, keyOf, MAX_CURSOR } from '../../../src/trading/read/cursor.ts'

const types: KeyType[] = ['timestamptz', 'bigint', 'date', 'text', 'boolean']
const key = ['2026-11-22T00:00:00.123456Z', '9223372036854775807', '2026-11-22', 'USDT', 'true']
const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

t.test('a cursor has the key of an item', async t => {
  t.strictSame(keyOf(cursorOf('equity', key), 'equity', types), key)
  t.strictSame(keyOf(cursorOf('books', ['币', '']), 'books', ['text', 'text']), ['币', ''])
})

t.test('a cursor of another collection, or one that no answer had, has no key', async t => {
  const changed = (i: number, value: unknown) => encoded(['equity', ...key.map((one, j) => (i === j ? value : one))])
  const cursors = [
    ...[cursorOf('orders', key), cursorOf('equity', key.slice(1)), cursorOf('equity', [...key, '1'])],
    ...['', 'x', '!!!', encoded(null), encoded({}), encoded('equity'), encoded([['equity'], ...key])],
    ...['2026-11-22T00:00:00Z', '2026-02-30T00:00:00.000000Z', 'infinity', 1].map(time => changed(0, time)),
    ...['9223372036854775808', '-1', '01', '1e3', '1; drop table users', ''].map(id => changed(1, id)),
    ...['2026-13-01', '0000-01-01', '2026-11-22 '].map(day => changed(2, day)),
    ...['\u0000', '\ud800', 'x'.repeat(101)].map(text => changed(3, text)),
    ...['1', 'TRUE', null].map(flag => changed(4, flag)),
    `${cursorOf('equity', key)}=`,
    `${cursorOf('equity', key)} `,
    Buffer.from(` ${JSON.stringify(['equity', ...key])}`).toString('base64url'),
    'A'.repeat(MAX_CURSOR + 1)
  ]
  for (const cursor of cursors) t.equal(keyOf(cursor, 'equity', types), undefined, cursor)
})
