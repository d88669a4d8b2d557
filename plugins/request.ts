import { Type } from '@sinclair/typebox'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { clientAddress, parseAddress } from '../src/client-address.ts'
import { holdsUnstorableText } from '../src/database/unstorable-text.ts'
import { hasDuplicateKeys } from '../src/duplicate-keys.ts'
import { invalidField } from '../src/errors.ts'
import { type Language, languageOf } from '../src/messages.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The language of the answer's sentences, by `Accept-Language`. */
    readonly language: Language
    /** The address of the client, in the one spelling of `parseAddress`: the only one to be used. */
    readonly clientAddress: string
    /** Whether `clientAddress` is the last hop: false when that is no address, and a hop before it is used instead. */
    readonly isAddressCertain: boolean
  }
}

const NO_BODY = Type.Union([Type.Null(), Type.Object({}, { additionalProperties: false })])

/**
 * Common to all requests of the API: answers are not cached and have the id of the request; each request is one log
 * line and one value of a metric. A POST or DELETE whose route has no body may have an empty body of type JSON, as HTTPie sends it.
 */
async function request(api: FastifyInstance) {
  api.decorateRequest('language', {
    getter(this: FastifyRequest) {
      return languageOf(this.headers['accept-language'])
    }
  })

  api.decorateRequest('clientAddress', {
    getter(this: FastifyRequest) {
      return clientAddress(hopsOf(this))
    }
  })
  api.decorateRequest('isAddressCertain', {
    getter(this: FastifyRequest) {
      return parseAddress(hopsOf(this).at(-1)) !== undefined
    }
  })

  api.addHook('onRoute', route => {
    if (route.method === 'POST' || route.method === 'DELETE') route.schema = { body: NO_BODY, ...route.schema }
  })

  api.addHook('onRequest', async ({ id }, reply) => {
    reply.headers({ 'request-id': id, 'cache-control': 'no-store' })
  })

  api.addHook('preHandler', async ({ body, query, params, language }) => {
    for (const [part, value] of Object.entries({ body, querystring: query, params })) {
      if (holdsUnstorableText(value)) throw invalidField(`/${part}`, language, 'pattern')
    }
  })

  api.addHook('onResponse', async (request, reply) => {
    const { log, method, routeOptions, clientAddress: address, identity, errorCode: code } = request
    const labels = { route: routeOptions.url ?? 'unmatched', status_class: `${Math.floor(reply.statusCode / 100)}xx` }
    api.metrics.observe('trading_health_http_request_duration_seconds', labels, reply.elapsedTime / 1_000)
    // The route's pattern, not the address: a query may contain confidential values.
    const line = {
      method,
      route: routeOptions.url,
      status: reply.statusCode,
      code,
      user: identity?.name,
      address,
      duration_ms: Math.round(reply.elapsedTime)
    }
    log.info(line, 'request')
  })

  const parseJson = api.getDefaultJsonParser('error', 'error')
  api.removeContentTypeParser(['application/json', 'text/plain'])
  api.addContentTypeParser<string>('application/json', { parseAs: 'string' }, (req, body, done) => {
    if (body === '') return done(null, undefined)
    parseJson(req, body, (err, value) => {
      if (!err && hasDuplicateKeys(body, value)) return done(invalidField('/body', req.language, 'uniqueKeys'))
      done(err, value)
    })
  })
}

/** The address of the connection first, then those that trusted proxies report. */
function hopsOf({ ips, socket }: FastifyRequest): (string | undefined)[] {
  return ips ?? [socket.remoteAddress]
}

export default fp(request, { name: 'request', fastify: '5.x', dependencies: ['metrics'] })
