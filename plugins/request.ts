import { Type } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { holdsUnstorableText } from '../src/database/unstorable-text.ts'
import { ServiceError } from '../src/errors.ts'
import { languageOf, message } from '../src/messages.ts'

const NO_BODY = Type.Union([Type.Null(), Type.Object({}, { additionalProperties: false })])

/**
 * What every request of the API has in common: its answer is never stored, carries the id under which the log knows it,
 * and is one line in the log and one in the
 * metrics. A POST that needs no body may come with the JSON type and an empty one, as HTTPie sends it.
 */
async function request(api: FastifyInstance) {
  api.addHook('onRoute', route => {
    if (route.method === 'POST') route.schema = { body: NO_BODY, ...route.schema }
  })

  api.addHook('onRequest', async ({ id }, reply) => {
    reply.headers({ 'request-id': id, 'cache-control': 'no-store' })
  })

  api.addHook('preHandler', async ({ body, query, params, headers }) => {
    for (const [part, value] of Object.entries({ body, querystring: query, params })) {
      if (!holdsUnstorableText(value)) continue
      const text = message('rule.pattern', languageOf(headers['accept-language']))
      throw new ServiceError('VALIDATION_FAILED', {
        extra: { details: [{ field: `/${part}`, rule: 'pattern', message: text }] }
      })
    }
  })

  api.addHook('onResponse', async ({ log, method, routeOptions }, reply) => {
    const labels = { route: routeOptions.url ?? 'unmatched', status_class: `${Math.floor(reply.statusCode / 100)}xx` }
    api.metrics.observe('trading_health_http_request_duration_seconds', labels, reply.elapsedTime / 1_000)
    // The route's pattern, not the address: a query may hold what nobody should read.
    const line = {
      method,
      route: routeOptions.url,
      status: reply.statusCode,
      duration_ms: Math.round(reply.elapsedTime)
    }
    log.info(line, 'request')
  })

  const parseJson = api.getDefaultJsonParser('error', 'error')
  api.removeContentTypeParser(['application/json', 'text/plain'])
  api.addContentTypeParser<string>('application/json', { parseAs: 'string' }, (req, body, done) => {
    if (body === '') done(null, undefined)
    else parseJson(req, body, done)
  })
}

export default fp(request, { name: 'request', fastify: '5.x', dependencies: ['metrics'] })
