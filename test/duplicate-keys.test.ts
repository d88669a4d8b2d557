import fc from 'fast-check'
import t from 'tap'
import { hasDuplicateKeys } from '../src/duplicate-keys.ts'

const RUNS = 500
const duplicates = (text: string) => hasDuplicateKeys(text, JSON.parse(text))

t.test('a duplicate key of an object is found, at any depth and in any spelling', async t => {
  for (const text of [
    '{"a":1,"a":2}',
    '{"a":1,"a":1}',
    '{"a":1,"\\u0061":2}',
    '{"a":{"b":1,"b":1}}',
    '[[{"a":1},{"b":1,"c":{},"b":[]}]]',
    '{"":1,"":2}',
    '{"\\"":1,"\\u0022":2}',
    '{"a" :1, "a"\n:\t2}',
    '{"__proto__":1,"__proto__":2}',
    '{"é":1,"\\u00e9":2}'
  ]) {
    t.equal(duplicates(text), true, text)
  }
})

t.test('the same key in several objects, and texts that resemble keys, are not duplicates', async t => {
  for (const text of [
    '{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}',
    '{"a":"\\"a\\":1","b":"a:","c":":"}',
    '["a:b", "a", {"a":"a"}]',
    '"a:b"',
    '{"a\\\\":1,"a":2}',
    '{"1":1,"0":2}',
    '{}',
    '7'
  ]) {
    t.equal(duplicates(text), false, text)
  }
})

t.test('JSON.stringify writes no duplicate key, and any repeated key is found', async t => {
  const property = fc.property(fc.jsonValue({ maxDepth: 4 }), fc.boolean(), (value, pretty) => {
    const text = JSON.stringify(value, null, pretty ? 2 : 0)
    if (duplicates(text)) throw new Error(`found in ${text}`)
    const repeated = `{"outer":${text},"x":[{"k":0,"y":${text},"\\u006b":0}]}`
    if (!duplicates(repeated)) throw new Error(`not found in ${repeated}`)
  })
  const result = fc.check(property, { numRuns: RUNS })
  t.equal(result.failed ? fc.defaultReportMessage(result) : undefined, undefined)
})

t.test('a deeply nested body is searched', async t => {
  const depth = 30_000
  t.equal(duplicates(`${'['.repeat(depth)}{"a":1,"a":2}${']'.repeat(depth)}`), true)
})
