import t from 'tap'
import { complete, type Operation, type Schema, withSharedAnswers } from '../../src/openapi/document.ts'

const envelope = { properties: { success: { const: false } } }
const statusesOf = (method: string, url: string, schema: Parameters<typeof withSharedAnswers>[0]['schema']) =>
  Object.keys(withSharedAnswers({ method, url, schema }, envelope).response ?? {}).map(Number)

t.test('a probe has only its own answers', async t => {
  t.strictSame(statusesOf('GET', '/health/ready', { response: { 200: {}, 503: {} }, security: [] }), [200, 503])
})

t.test('a route has the shared answers of its scope, its method and its input', async t => {
  t.strictSame(statusesOf('GET', '/api/system/x', { response: { 200: {} } }), [200, 401, 403, 429, 500, 503])
  t.strictSame(statusesOf('GET', '/api/system/x', { querystring: {} }), [400, 401, 403, 429, 500, 503])
  t.strictSame(statusesOf('POST', '/api/x', { security: [], body: {} }), [400, 403, 413, 415, 500, 503])
  t.strictSame(statusesOf('GET', '/api/x', {}), [401, 429, 500, 503])
  const security = [{ session: [] }]
  t.strictSame(statusesOf('GET', '/api/x', { security }), [401, 500, 503], 'a route that accepts no token')
})

t.test('an answer of the route takes precedence over a shared one', async t => {
  const own = { description: 'own' }
  const { response } = withSharedAnswers({ method: 'GET', url: '/api/x', schema: { response: { 503: own } } }, envelope)
  t.hasStrict(response, { 503: own, 500: envelope })
})

t.test('every operation has an id, and every answer a description', async t => {
  const operation: Operation = { responses: { 200: { description: 'Default Response' }, 409: { description: '' } } }
  complete(operation, 'post', '/api/system/jobs/{job_id}/pause')
  t.equal(operation.operationId, 'post_system_jobs_job_id_pause')
  t.equal(operation.responses[200]?.description, 'OK')
  t.equal(operation.responses[409]?.description, 'Conflict')
})

t.test('examples are those of the schemas, and those of errors are from the catalogue', async t => {
  const json = (schema: Schema) => ({ 'application/json': { schema } })
  const operation: Operation = {
    parameters: [{ name: 'job_id', schema: { examples: ['housekeeping'] } }],
    requestBody: { content: json({ examples: [{ reason: 'test' }] }) },
    responses: {
      200: { description: '', content: json({ examples: [1, 2] }) },
      202: { description: '', content: json({}) },
      400: { description: '', content: json(envelope) },
      409: { description: '', content: json(envelope) }
    }
  }
  complete(operation, 'post', '/api/x')
  const exampleOf = (content: (typeof operation.responses)[string]['content']) => content?.['application/json']?.example
  t.equal(operation.parameters?.[0]?.example, 'housekeeping')
  t.strictSame(exampleOf(operation.requestBody?.content), { reason: 'test' })
  t.equal(exampleOf(operation.responses[200]?.content), 1)
  t.equal(exampleOf(operation.responses[202]?.content), undefined, 'no example is generated')
  t.hasStrict(exampleOf(operation.responses[400]?.content), { code: 'VALIDATION_FAILED' })
  t.hasStrict(exampleOf(operation.responses[409]?.content), { code: 'JOB_ALREADY_RUNNING' })
})
