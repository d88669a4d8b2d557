// @FEAT:health-monitoring @COMP:route @TYPE:core
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { ServiceError } from '../src/errors.ts'
import { languageOf } from '../src/messages.ts'
import { signInPage, signInScript } from '../src/openapi/sign-in-page.ts'

/** What the page loads: its own scripts, its own and inline styles, pictures of its style sheet. */
const contentSecurityPolicy = {
  useDefaults: false,
  directives: {
    defaultSrc: ["'none'"],
    scriptSrc: ["'self'"],
    styleSrc: ["'self'", "'unsafe-inline'"],
    imgSrc: ["'self'", 'data:'],
    connectSrc: ["'self'"],
    baseUri: ["'none'"],
    formAction: ["'none'"],
    frameAncestors: ["'none'"]
  }
}

/** The headers that are copied from the page. */
const COPIED_HEADERS = ['content-type', 'location', 'etag', 'last-modified']

const SIGN_IN_SCRIPT = '/docs/sign-in.js'

/** The API document, for admins: `/docs` is the page, `/docs/json` the document. A browser gets a sign-in page first. */
export default async function docsRoutes(app: FastifyInstance) {
  const options = { schema: { hide: true }, helmet: { contentSecurityPolicy } }
  app.get(SIGN_IN_SCRIPT, options, sendSignInScript)
  app.register(async admin => {
    admin.addHook('onRequest', admin.requireAdmin)
    admin.setErrorHandler(sendSignInPage)
    admin.get('/docs', options, sendPage)
    admin.get('/docs/*', options, sendPage)
  })
}

async function sendSignInScript(_request: FastifyRequest, reply: FastifyReply) {
  return reply.type('text/javascript; charset=utf-8').send(signInScript)
}

/** @throws {unknown} the error itself, unless a browser has to sign in */
async function sendSignInPage(err: FastifyError, { headers }: FastifyRequest, reply: FastifyReply) {
  const isBrowser = headers.accept?.includes('text/html') === true
  if (!isBrowser || !(err instanceof ServiceError) || err.code !== 'UNAUTHENTICATED') throw err
  reply.code(401).type('text/html; charset=utf-8')
  return reply.send(signInPage(languageOf(headers['accept-language']), SIGN_IN_SCRIPT))
}

/** @throws {ServiceError} NOT_FOUND */
async function sendPage({ server, url }: FastifyRequest, reply: FastifyReply) {
  const { statusCode, headers, rawPayload } = await server.openapi.page(url)
  if (statusCode >= 400) throw new ServiceError('NOT_FOUND')
  for (const name of COPIED_HEADERS) if (headers[name] !== undefined) reply.header(name, headers[name])
  return reply.code(statusCode).send(rawPayload)
}
