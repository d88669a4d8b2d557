// @FEAT:health-monitoring @COMP:plugin @TYPE:core
import Fastify, { type FastifyInstance, type FastifySchema, type LightMyRequestResponse } from 'fastify'
import fp from 'fastify-plugin'
import { complete, type Operation, withSharedAnswers } from '../src/openapi/document.ts'

declare module 'fastify' {
  interface FastifyInstance {
    openapi: {
      /** Answers a path under `/docs`: the page, what it loads, and `/docs/json`, the document itself. */
      page(path: string): Promise<LightMyRequestResponse>
    }
  }
}

export interface OpenApiOptions {
  version: string
  /** Schema of the envelope of every error. */
  errorAnswer: unknown
}

interface Route {
  method: string
  url: string
  schema: FastifySchema
}

const DESCRIPTION = `Probes for orchestrators and load balancers, and an admin API with a session cookie.
Every route that answers GET answers HEAD, too. Errors are one envelope, in Korean unless \`Accept-Language: en\` asks
for English. The probe routes stand on the probe port as well; metrics are told at \`/metrics\` of their own port.`

/**
 * Makes the document from the schemas of all routes that are registered after it. It is made when it is first asked for,
 * on an instance of its own that only the page is served from: few ever ask, and it costs 9 MB.
 */
async function openapi(app: FastifyInstance, { version, errorAnswer }: OpenApiOptions) {
  const routes: Route[] = []
  app.addHook('onRoute', ({ method, url, schema = {} }) => {
    if (schema.hide) return
    for (const one of [method].flat()) if (one !== 'HEAD') routes.push({ method: one, url, schema })
  })

  let making: Promise<FastifyInstance> | undefined
  app.decorate('openapi', {
    async page(path) {
      making ??= serveDocument(routes, { version, errorAnswer })
      return (await making).inject({ method: 'GET', url: path })
    }
  })
  app.addHook('onClose', async () => (await making)?.close())
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
      components: { securitySchemes: { session: { type: 'apiKey', in: 'cookie', name: 'session' } } },
      security: [{ session: [] }]
    },
    convertConstToEnum: false,
    transformObject: document => {
      if (!('openapiObject' in document)) throw new Error('the document is no OpenAPI 3')
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
