// @FEAT:health-monitoring @COMP:plugin @TYPE:core
import Fastify, { type FastifyInstance, type FastifySchema, type LightMyRequestResponse } from 'fastify'
import fp from 'fastify-plugin'
import { complete, type Operation, withSharedAnswers } from '../src/openapi/document.ts'

declare module 'fastify' {
  interface FastifyInstance {
    openapi: {
      /** Returns the answer for a path below `/docs`: the page, its files, and the document at `/docs/json`. */
      page(path: string): Promise<LightMyRequestResponse>
    }
  }
}

interface OpenApiOptions {
  version: string
  /** The schema of all error answers. */
  errorAnswer: unknown
}

interface Route {
  method: string
  url: string
  schema: FastifySchema
}

const DESCRIPTION = `Probes for orchestrators and load balancers, and an API for people with a session cookie and for scripts with a
token (\`Authorization: Bearer\`).
Every GET route answers HEAD, too, and every route answers OPTIONS. Every error has the same envelope, in Korean, or in English when
\`Accept-Language\` prefers it. The probe routes are on the probe port, too; metrics are at \`/metrics\` of their own port.`

/**
 * Makes the OpenAPI document from the schemas of all routes that are registered after this plugin. The document and its
 * page are in a separate Fastify instance, which is made for the first request: it needs 9 MB and is rarely used.
 */
async function openapi(app: FastifyInstance, { version, errorAnswer }: OpenApiOptions) {
  const routes: Route[] = []
  app.addHook('onRoute', ({ method, url, schema = {} }) => {
    if (schema.hide) return
    for (const one of [method].flat()) if (one !== 'HEAD') routes.push({ method: one, url, schema })
  })

  let documentApp: Promise<FastifyInstance> | undefined
  app.decorate('openapi', {
    async page(path) {
      documentApp ??= serveDocument(routes, { version, errorAnswer })
      return (await documentApp).inject({ method: 'GET', url: path })
    }
  })
  app.addHook('onClose', async () => (await documentApp)?.close())
}

async function serveDocument(routes: Route[], { version, errorAnswer }: OpenApiOptions): Promise<FastifyInstance> {
  const [{ default: swagger }, { default: swaggerUi }] = await Promise.all([
    import('@fastify/swagger'),
    import('@fastify/swagger-ui')
  ])
  const pages = Fastify()
  pages.setValidatorCompiler(() => () => true)
  pages.setSerializerCompiler(() => JSON.stringify)
  await pages.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'trading-health', version, description: DESCRIPTION, license: { name: 'MIT', identifier: 'MIT' } },
      servers: [{ url: '/' }],
      components: {
        securitySchemes: {
          session: { type: 'apiKey', in: 'cookie', name: 'session' },
          token: { type: 'http', scheme: 'bearer', bearerFormat: 'th_ and 43 letters, digits, - and _' }
        }
      },
      // One of them.
      security: [{ session: [] }, { token: [] }]
    },
    convertConstToEnum: false,
    transformObject: document => {
      if (!('openapiObject' in document)) throw new Error('the document is not OpenAPI 3')
      const { openapiObject } = document
      for (const [path, item] of Object.entries(openapiObject.paths ?? {})) {
        for (const [method, operation] of Object.entries(item ?? {})) complete(operation as Operation, method, path)
      }
      return openapiObject
    }
  })
  for (const { method, url, schema } of routes) {
    pages.route({
      method,
      url,
      schema: withSharedAnswers({ method, url, schema }, errorAnswer),
      exposeHeadRoute: false,
      handler: () => undefined
    })
  }
  await pages.register(swaggerUi, { routePrefix: '/docs', theme: { title: 'trading-health' } })
  await pages.ready()
  return pages
}

export default fp(openapi, { name: 'openapi', fastify: '5.x' })
