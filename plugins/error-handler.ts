// @FEAT:health-monitoring @COMP:plugin @TYPE:core
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest, HTTPMethods } from 'fastify'
import fp from 'fastify-plugin'
import FindMyWay from 'find-my-way'
import { DatabaseUnavailableError } from '../src/database/failure.ts'
import { errorHeaders } from '../src/error-headers.ts'
import { catalogue, type ErrorCode, errorBody, ServiceError, validationDetails } from '../src/errors.ts'
import { languageOf } from '../src/messages.ts'
import { errorPage, isAnsweredWithPage, PAGE_HEADERS } from '../src/pages/error-page.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The code of the answer, where it is an error. */
    errorCode: ErrorCode | undefined
  }
  interface FastifyInstance {
    /** Answers `OPTIONS` with 204 and the methods of the path. Otherwise answers 404, or 405 with these methods. */
    answerNotFound(request: FastifyRequest, reply: FastifyReply): FastifyReply
  }
}

/** The error of the catalogue for each of Fastify's own errors, by Fastify's code. */
const frameworkErrors: Record<string, ErrorCode> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'UNSUPPORTED_MEDIA_TYPE',
  FST_ERR_CTP_BODY_TOO_LARGE: 'PAYLOAD_TOO_LARGE',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'MALFORMED_JSON',
  FST_ERR_CTP_INVALID_JSON_BODY: 'MALFORMED_JSON',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'BAD_REQUEST',
  FST_ERR_BAD_URL: 'BAD_REQUEST',
  FST_ERR_MAX_PARAM_LENGTH: 'URI_TOO_LONG'
}

const RETRY_AFTER_SECONDS = 5

/**
 * Answers every error with the error envelope, or a browser with a page: a client gets what the catalogue has, the log
 * gets the rest.
 */
async function errorHandler(app: FastifyInstance) {
  app.setErrorHandler(sendError)
  app.decorateRequest('errorCode')

  const router = FindMyWay({ ignoreTrailingSlash: false })
  app.addHook('onRoute', ({ method, url }) => {
    for (const one of [method].flat() as HTTPMethods[]) {
      if (!router.hasRoute(one as FindMyWay.HTTPMethod, url))
        router.on(one as FindMyWay.HTTPMethod, url, () => undefined)
    }
  })

  const answerNotFound = (request: FastifyRequest, reply: FastifyReply) => {
    const path = request.url.split('?', 1)[0] ?? '/'
    const routed = app.supportedMethods.filter(method => router.find(method as FindMyWay.HTTPMethod, path) !== null)
    if (routed.length === 0) return send(request, reply, 'NOT_FOUND')
    reply.header('allow', [...routed, 'OPTIONS'].sort().join(', '))
    if (request.method !== 'OPTIONS') return send(request, reply, 'METHOD_NOT_ALLOWED')
    return reply.code(204).headers(errorHeaders(request.id)).send()
  }
  app.decorate('answerNotFound', answerNotFound)
  app.setNotFoundHandler(answerNotFound)
}

/** The error handler of all routes, also for errors before the routing. */
export function sendError(err: FastifyError | Error, request: FastifyRequest, reply: FastifyReply) {
  if (err instanceof ServiceError) {
    if (err.code === 'DATABASE_UNAVAILABLE') request.log.warn({ err }, 'request without database')
    else if (catalogue[err.code] >= 500 && err.code !== 'OVERLOADED') request.log.error({ err }, 'request failed')
    return send(request, reply.headers(err.headers), err.code, err.extra)
  }
  if (err instanceof DatabaseUnavailableError) {
    request.log.warn({ err }, 'request without database')
    return send(request, reply.header('retry-after', String(RETRY_AFTER_SECONDS)), 'DATABASE_UNAVAILABLE')
  }
  if ('validation' in err && err.validation) {
    const language = languageOf(request.headers['accept-language'])
    const details = validationDetails(err.validation, err.validationContext ?? 'body', language)
    return send(request, reply, 'VALIDATION_FAILED', { details })
  }
  const code = codeOf(err)
  if (catalogue[code] >= 500) request.log.error({ err }, 'request failed')
  return send(request, reply, code)
}

function codeOf(err: FastifyError | Error): ErrorCode {
  const known = 'code' in err ? frameworkErrors[err.code] : undefined
  if (known) return known
  // For a body that is not JSON, Fastify throws the SyntaxError of the parser with a status.
  const status = 'statusCode' in err ? err.statusCode : undefined
  if (err instanceof SyntaxError && status === 400) return 'MALFORMED_JSON'
  return status !== undefined && status >= 400 && status < 500 ? 'BAD_REQUEST' : 'INTERNAL_ERROR'
}

function send(request: FastifyRequest, reply: FastifyReply, code: ErrorCode, extra: Record<string, unknown> = {}) {
  const { headers, id, url } = request
  const language = languageOf(headers['accept-language'])
  request.errorCode = code
  reply.code(catalogue[code]).headers(errorHeaders(id))
  if (isAnsweredWithPage(url, headers.accept)) return reply.headers(PAGE_HEADERS).send(errorPage(code, language))
  return reply.send({ ...errorBody(code, language), ...extra })
}

export default fp(errorHandler, { name: 'error-handler', fastify: '5.x' })
