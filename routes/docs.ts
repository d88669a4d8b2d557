// @FEAT:health-monitoring @COMP:route @TYPE:core
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { ServiceError } from '../src/errors.ts'
import { FORM_SCRIPT_PATH, formScript } from '../src/pages/form-script.ts'

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

/** The API document, for admins: `/docs` is the page, `/docs/json` the document. A browser gets a form first. */
export default async function docsRoutes(app: FastifyInstance) {
  const options = { schema: { hide: true }, helmet: { contentSecurityPolicy } }
  app.get(FORM_SCRIPT_PATH, options, sendFormScript)
  app.register(async admin => {
    admin.addHook('onRequest', admin.requireAdmin)
    admin.get('/docs', options, sendPage)
    admin.get('/docs/*', options, sendPage)
  })
}

async function sendFormScript(_request: FastifyRequest, reply: FastifyReply) {
  return reply.type('text/javascript; charset=utf-8').send(formScript)
}

/** @throws {ServiceError} NOT_FOUND */
async function sendPage({ server, url }: FastifyRequest, reply: FastifyReply) {
  const { statusCode, headers, rawPayload } = await server.openapi.page(url)
  if (statusCode >= 400) throw new ServiceError('NOT_FOUND')
  for (const name of COPIED_HEADERS) if (headers[name] !== undefined) reply.header(name, headers[name])
  return reply.code(statusCode).send(rawPayload)
}
