import t from 'tap'
import { exampleOf } from '../../src/openapi/example.ts'

t.test("a schema's own example goes before everything", async t => {
  t.strictSame(exampleOf({ type: 'object', examples: [{ a: 1 }], properties: { b: { type: 'string' } } }), { a: 1 })
})

t.test('what a schema fixes is its example', async t => {
  t.equal(exampleOf({ const: false }), false)
  t.equal(exampleOf({ enum: ['SPOT', 'FUTURES'] }), 'SPOT')
  t.equal(exampleOf({ type: 'integer', default: 50 }), 50)
  t.equal(exampleOf({ anyOf: [{ const: 'ok' }, { type: 'null' }] }), 'ok')
})

t.test('an answer shows what is always there, a body all that may be', async t => {
  const schema = {
    type: 'object',
    required: ['job_id'],
    properties: { job_id: { type: 'string' }, reason: { type: 'string' } }
  }
  t.strictSame(exampleOf(schema), { job_id: 'housekeeping' })
  t.strictSame(exampleOf(schema, { whole: true }), { job_id: 'housekeeping', reason: 'exchange maintenance' })
})

t.test('without a word of its own, a schema gets the plainest value that it takes', async t => {
  t.strictSame(exampleOf({ type: 'array', items: { type: 'integer', minimum: 7 } }), [7])
  t.equal(exampleOf({ type: 'string', format: 'date' }), '2026-11-22')
  t.equal(exampleOf({ type: 'string' }), 'text')
  t.equal(exampleOf({ type: 'null' }), null)
  t.strictSame(exampleOf({ type: 'array' }), [])
})
