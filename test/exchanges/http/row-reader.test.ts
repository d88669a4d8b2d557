import t, { type Test } from 'tap'
import { UnreadableAnswer } from '../../../src/exchanges/http/answer-fields.ts'
import { RowReader } from '../../../src/exchanges/http/row-reader.ts'

interface Read {
  rows: unknown[][]
  end: string
}

/** Reads an answer in chunks of `size` bytes: each row as its key and the values of `a` and `b`, and the envelope. */
function read(text: string, { size = Number.POSITIVE_INFINITY, keyed = false } = {}): Read {
  const rows: unknown[][] = []
  const options = keyed ? { keyed } : {}
  const reader = new RowReader(['a', 'b'], (values, key) => rows.push([key, ...values]), options)
  const bytes = Buffer.from(text)
  for (let at = 0; at < bytes.length; at += size) reader.push(bytes.subarray(at, at + size))
  return { rows, end: reader.end() }
}

const unreadable = (message: string) => ({ name: 'UnreadableAnswer', message })

/** Reads an answer whole, byte by byte and in chunks of three bytes, and asserts that the results are the same. */
function readInChunks(test: Test, text: string, keyed = false): Read {
  const whole = read(text, { keyed })
  for (const size of [1, 3]) test.strictSame(read(text, { keyed, size }), whole, `chunks of ${size}`)
  return whole
}

t.test('the wanted fields of each row are read, numbers as they are written', async t => {
  t.strictSame(readInChunks(t, '[{"a":"x","b":1.50},{"c":{"a":"no"},"b":"y","a":-1E-7},{"b":null},{}]'), {
    rows: [
      ['', 'x', '1.50'],
      ['', '-1E-7', 'y'],
      ['', null, null],
      ['', null, null]
    ],
    end: '[]'
  })
})

t.test('with the name of an array only its objects are rows, and nested fields are texts', async t => {
  const text = String.raw`{"limits":[{"symbols":[1],"a":"no"}],"none":[],"x":"symbols","symbols":[{"a":[{"t":"1.50 \"]"}],"b":{"c":2}},{"a":null,"b":1}],"z":[3]}`
  const readIn = (size: number) => {
    const rows: unknown[][] = []
    const onRow = (values: readonly (string | null)[]) => rows.push([...values])
    const reader = new RowReader(['a', 'b'], onRow, { array: 'symbols', nested: ['a', 'b'] })
    const bytes = Buffer.from(text)
    for (let at = 0; at < bytes.length; at += size) reader.push(bytes.subarray(at, at + size))
    return { rows, end: reader.end() }
  }
  for (const size of [1, 7, text.length]) {
    t.strictSame(
      readIn(size),
      {
        rows: [
          [String.raw`[{"t":"1.50 \"]"}]`, '{"c":2}'],
          [null, '1']
        ],
        end: '{"limits":[{"symbols":[1],"a":"no"}],"none":[],"x":"symbols","symbols":[],"z":[3]}'
      },
      `chunks of ${size}`
    )
  }
})

t.test('an answer without the named array has no rows', async t => {
  const reader = new RowReader(['a'], () => t.fail('a row'), { array: 'symbols' })
  reader.push(Buffer.from('{"limits":[{"a":1}]}'))
  t.equal(reader.end(), '{"limits":[{"a":1}]}')
})

t.test('a value of an earlier row is not in a later one', async t => {
  t.strictSame(read('[{"a":"1","b":"2"},{"b":"3"}]').rows, [
    ['', '1', '2'],
    ['', null, '3']
  ])
})

t.test('white space is allowed between all tokens', async t => {
  const text = ' { "code" : "0" , "data" : [ { "a" : 1 , "b" : "2" } ,\n\t{ "a":3\r\n} , { } ] , "time":5 } '
  t.strictSame(readInChunks(t, text), {
    rows: [
      ['', '1', '2'],
      ['', '3', null],
      ['', null, null]
    ],
    end: ' { "code" : "0" , "data" : [] , "time":5 } '
  })
})

t.test('the envelope is kept, with any text in it', async t => {
  t.strictSame(readInChunks(t, String.raw`{"msg":"a [ \" { \\","data":[{"a":1}],"x":[2]}`), {
    rows: [['', '1', null]],
    end: String.raw`{"msg":"a [ \" { \\","data":[],"x":[2]}`
  })
  t.strictSame(readInChunks(t, '{"code":-1,"msg":"no"}'), { rows: [], end: '{"code":-1,"msg":"no"}' })
  t.strictSame(readInChunks(t, '[]'), { rows: [], end: '[]' })
  t.strictSame(read(''), { rows: [], end: '' })
})

t.test('other values of any type are skipped', async t => {
  const odd = String.raw`[{"x":[1,{"y":"]}"}],"a":1,"z":{"q":"\"}","w":[[]]},"b":true,"v":"\\"},{"x":"}","a":2}]`
  t.strictSame(readInChunks(t, odd).rows, [
    ['', '1', 'true'],
    ['', '2', null]
  ])
})

t.test('a field name must match completely', async t => {
  t.strictSame(read('[{"aa":1,"A":2,"":3,"b":4}]').rows, [['', null, '4']])
})

t.test('texts with escapes and non-ASCII letters are decoded', async t => {
  t.strictSame(readInChunks(t, String.raw`[{"a":"币","b":"é\u0041\n"},{"a":"null","b":"~"},{"a":"","b":"\\"}]`).rows, [
    ['', '币', 'éA\n'],
    ['', 'null', '~'],
    ['', '', '\\']
  ])
  t.strictSame(read('[{"a":"\u0080","b":"\u007f"}]').rows, [['', '\u0080', '\u007f']])
  t.throws(() => read('[{"a":"\u001f"}]'), unreadable('not JSON'))
  t.strictSame(read('[{"a":" "}]').rows, [['', ' ', null]])
})

t.test('keyed rows are the members of an object in the envelope', async t => {
  const text =
    '{"status":"0000","data":{"BTC":{"a":1},"date":"123","n":5,"list":[1,{"a":9}],"ETH":{},"X" : { "b":2 }},"t":1}'
  t.strictSame(readInChunks(t, text, true), {
    rows: [
      ['BTC', '1', null],
      ['ETH', null, null],
      ['X', null, '2']
    ],
    end: '{"status":"0000","data":{"date":"123","n":5,"list":[1,{"a":9}]},"t":1}'
  })
  t.strictSame(readInChunks(t, '{"x":{},"data":{}}', true), { rows: [], end: '{"x":{},"data":{}}' })
  t.strictSame(readInChunks(t, '{"status":"5600","list":[{"a":1}]}', true).rows, [])
  t.strictSame(read(String.raw`{"data":{"\u0042":{"a":1}}}`, { keyed: true }).rows, [['B', '1', null]])
})

t.test('an answer without an array of rows is rejected', async t => {
  const array = 'not an array of rows'
  for (const text of ['[x]', '[nul]', '[{"a":1}{"a":1}]', '[,{"a":1}]', '[{"a":1},]', '[{"a":1},,{"a":1}]', '[:]'])
    for (const size of [1, 100]) t.throws(() => read(text, { size }), unreadable(array), `${text} by ${size}`)
  for (const text of ['[{a:1}]', '[{"a" 1}]', '[{"a":1 "b":2}]', '[{"a":1,}]', '[{1:1}]'])
    for (const size of [1, 100]) t.throws(() => read(text, { size }), unreadable('not a row'), `${text} by ${size}`)
  for (const text of ['{"data":{"BTC" {}}}', '{"data":{"BTC",{}}}'])
    t.throws(() => read(text, { keyed: true }), unreadable('not a row'), text)
  for (const text of ['{"data":{{}}}', '{"data":{"BTC":{},}}', '{"data":{"BTC":{}"ETH":{}}}', '{"data":{1:{}}}'])
    t.throws(() => read(text, { keyed: true }), unreadable(array), text)
})

t.test('rows that cannot be read are passed on, and the others are read', async t => {
  const text = `[{"a":"ok"},1,"a",[{"a":1}],null,-1.5e3,{"a":{"x":"}"}},{"b":[1]},{"a":"${'v'.repeat(255)}"},{"a":"last"}]`
  for (const size of [1, 3, 1_000]) {
    const rows: (string | null)[] = []
    const faults: string[] = []
    const onRow = ([a]: readonly (string | null)[]) => {
      if (a === 'last') throw new UnreadableAnswer('a is unknown')
      rows.push(a ?? null)
    }
    const onUnreadable = (reason: string, row: string) => faults.push(`${reason}: ${row.slice(0, 14)}`)
    const reader = new RowReader(['a', 'b'], onRow, { onUnreadable })
    const bytes = Buffer.from(text)
    for (let at = 0; at < bytes.length; at += size) reader.push(bytes.subarray(at, at + size))
    t.equal(reader.end(), '[]')
    t.strictSame(rows, ['ok'])
    t.strictSame(faults, [
      'a row is not an object: 1',
      'a row is not an object: "a"',
      'a row is not an object: [{"a":1}]',
      'a row is not an object: null',
      'a row is not an object: -1.5e3',
      'a value is not flat: {"a":{"x":"}"}',
      'a value is not flat: {"b":[1]}',
      'a value is too long: {"a":"vvvvvvvv',
      'a is unknown: {"a":"last"}'
    ])
  }
})

t.test('without a function for unreadable rows they are an error of the answer', async t => {
  for (const text of ['[1]', '["a"]', '[[]]'])
    for (const size of [1, 100]) t.throws(() => read(text, { size }), unreadable('a row is not an object'), text)
})

t.test('a wanted value that is not a scalar is rejected', async t => {
  for (const text of ['[{"a":{}}]', '[{"b":[1]}]']) t.throws(() => read(text), unreadable('a value is not flat'))
})

t.test('an answer that ends within the rows is an error', async t => {
  const whole = '{"data":[{"a":1},{"x":{"y":"z"},"b":"2"}]'
  for (let length = 9; length < whole.length; length++)
    t.throws(() => read(whole.slice(0, length)), unreadable('cut short'), whole.slice(0, length))
  t.equal(read(whole).end, '{"data":[]')
  const keyed = '{"data":{"BTC" : {"a":1},"d":"x"}'
  for (let length = 9; length < keyed.length; length++)
    t.throws(() => read(keyed.slice(0, length), { keyed: true }), unreadable('cut short'), keyed.slice(0, length))
})

t.test('a row has at most 8 KiB, a value 256 bytes, the envelope 64 KiB', async t => {
  const row = (bytes: number) => `{"x":"${'y'.repeat(bytes - 8)}"}`
  t.equal(read(`[${row(8_192)},${row(8_192)}]`).rows.length, 2)
  t.throws(() => read(`[{},${row(8_193)}]`), unreadable('a row is too long'))
  t.equal(read(`[${row(8_192)}]`, { size: 4_096 }).rows.length, 1)
  t.throws(() => read(`[{"x":"${'y'.repeat(8_193)}`), unreadable('a row is too long'))
  t.throws(() => read(`[${row(8_192).slice(0, -1)}`), unreadable('cut short'))

  const value = 'v'.repeat(254)
  t.equal(read(`[{"a":"${value}"}]`).rows[0]?.[1], value)
  t.throws(() => read(`[{"a":"${value}v"}]`), unreadable('a value is too long'))
  t.throws(() => read(`{"data":{"${value}v":{}}}`, { keyed: true }), unreadable('a value is too long'))
  t.throws(() => read(`[{"a":${'1'.repeat(257)}}]`), unreadable('a value is too long'))
  t.equal(read(`[{"a":${'1'.repeat(256)}}]`).rows.length, 1)
  t.equal(read(`[{"x":"${value}v"}]`).rows.length, 1, 'of a field that is not wanted')

  const frame = (bytes: number) => `{"m":"${'y'.repeat(bytes - 10)}",[]`
  t.equal(read(frame(65_536)).end.length, 65_536)
  t.throws(() => read(frame(65_537)), unreadable('not an array of rows'))
  t.throws(() => read(frame(65_537), { size: 1_000 }), unreadable('not an array of rows'))
})

t.test('the envelope does not keep the chunk alive', async t => {
  const chunk = Buffer.from('{"data":[],"x":1}')
  const reader = new RowReader([], () => {})
  reader.push(chunk)
  chunk.fill(0x20)
  t.equal(reader.end(), '{"data":[],"x":1}')
})

t.test('a chunk may be a view into a larger buffer', async t => {
  const rows: unknown[] = []
  const reader = new RowReader(['a'], values => rows.push(...values))
  const text = new TextEncoder().encode('xx[{"a":1}]yy')
  reader.push(new Uint8Array(text.buffer, 2, text.length - 4))
  t.equal(reader.end(), '[]')
  t.strictSame(rows, ['1'])
})
