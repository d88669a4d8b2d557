import t from 'tap'
import { complete, type Operation, withSharedAnswers } from '../../src/openapi/document.ts'
import { assertRows } from '../support/assert-rows.ts'

const envelope = { properties: { success: { const: false } } }
const statusesOf = (method: string, url: string, schema: Parameters<typeof withSharedAnswers>[0]['schema']) =>
  Object.keys(withSharedAnswers({ method, url, schema }, envelope).response ?? {}).map(Number)

t.test('a probe answers as it says, nothing else', async t => {
  t.strictSame(statusesOf('GET', '/health/ready', { response: { 200: {}, 503: {} }, security: [] }), [200, 503])
})

t.test('a route answers as its scope, its method and its input have it, too', async t => {
  t.strictSame(statusesOf('GET', '/api/system/x', { response: { 200: {} } }), [200, 401, 403, 500, 503])
  t.strictSame(statusesOf('GET', '/api/system/x', { querystring: {} }), [400, 401, 403, 500, 503])
  t.strictSame(statusesOf('POST', '/api/x', { security: [], body: {} }), [400, 403, 413, 415, 500, 503])
  t.strictSame(statusesOf('GET', '/api/x', {}), [401, 500, 503])
})

t.test('what a route says of a status itself stands', async t => {
  const own = { description: 'own' }
  const { response } = withSharedAnswers({ method: 'GET', url: '/api/x', schema: { response: { 503: own } } }, envelope)
  t.hasStrict(response, { 503: own, 500: envelope })
})

t.test('an operation gets its id, and all of it a description and an example', async t => {
  const operation: Operation = {
    parameters: [{ name: 'job_id', schema: { type: 'string' } }],
    requestBody: { content: { 'application/json': { schema: { type: 'boolean' } } } },
    responses: {
      200: { description: 'Default Response', content: { 'application/json': { schema: { type: 'integer' } } } },
      409: { description: 'Default Response', content: { 'application/json': { schema: envelope } } }
    }
  }
  complete(operation, 'post', '/api/system/jobs/{job_id}/pause')
  t.hasStrict(operation, {
    operationId: 'post_system_jobs_job_id_pause',
    requestBody: { content: { 'application/json': { example: false } } },
    responses: {
      200: { description: 'OK', content: { 'application/json': { example: 1 } } },
      409: { description: 'Conflict', content: { 'application/json': { example: { code: 'JOB_ALREADY_RUNNING' } } } }
    }
  })
  assertRows(t, operation.parameters, [{ name: 'job_id', example: 'housekeeping' }])
})
