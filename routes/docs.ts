// @FEAT:health-monitoring @COMP:route @TYPE:core
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { ServiceError } from '../src/errors.ts'
import { languageOf } from '../src/messages.ts'
import { signInPage, signInScript } from '../src/openapi/sign-in-page.ts'

/** What the page needs beyond nothing: its own scripts, styles that it sets itself, pictures in its style sheet. */
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

/** The headers of a page that its handler does not know better. */
const PASSED_ON = ['content-type', 'location', 'etag', 'last-modified']

const SIGN_IN_SCRIPT = '/docs/sign-in.js'

/** The API described, for admins: `/docs` to browse, `/docs/json` for tools. A browser is asked to sign in first. */
export default async function docsRoutes(app: FastifyInstance) {
  const options = { schema: { hide: true }, helmet: { contentSecurityPolicy } }

  app.get(SIGN_IN_SCRIPT, options, async (_request, reply) =>
    reply.type('text/javascript; charset=utf-8').send(signInScript)
  )

  app.register(async admin => {
    admin.addHook('onRequest', admin.requireAdmin)
    admin.setErrorHandler((err, request, reply) => {
      const { accept = '', 'accept-language': languages } = request.headers
      const isBrowser = err instanceof ServiceError && err.code === 'UNAUTHENTICATED' && accept.includes('text/html')
      if (!isBrowser) throw err
      return reply
        .code(401)
        .type('text/html; charset=utf-8')
        .send(signInPage(languageOf(languages), SIGN_IN_SCRIPT))
    })
    admin.get('/docs', options, answer)
    admin.get('/docs/*', options, answer)
  })

  async function answer(request: FastifyRequest, reply: FastifyReply) {
    const { statusCode, headers, rawPayload } = await app.openapi.page(request.url)
    if (statusCode >= 400) throw new ServiceError('NOT_FOUND')
    for (const name of PASSED_ON) if (headers[name] !== undefined) reply.header(name, headers[name])
    return reply.code(statusCode).send(rawPayload)
  }
}
