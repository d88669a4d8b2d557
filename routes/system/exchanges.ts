// @FEAT:exchanges @COMP:route @TYPE:core
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { closed, errors } from './schemas.ts'

const Metadata = Type.Object(
  {
    name: Type.String(),
    supports_spot: Type.Boolean(),
    supports_futures: Type.Boolean({ description: 'linear perpetuals' }),
    supports_perpetual: Type.Boolean(),
    has_testnet: Type.Boolean(),
    quote_currencies: Type.Array(Type.String())
  },
  closed
)

/** What the supported exchanges offer. */
const routes: FastifyPluginAsyncTypebox = async app => {
  app.get(
    '/exchange-metadata',
    {
      schema: {
        tags: ['exchanges'],
        summary: 'The supported exchanges and what they offer',
        response: {
          200: Type.Object({ success: Type.Literal(true), payload: Type.Record(Type.String(), Metadata) }, closed),
          ...errors(401, 403, 503)
        }
      }
    },
    async (_request, reply) => {
      // With it come the adapters: they are no part of a start.
      const { exchangeMetadata } = await import('../../src/exchanges/catalogue.ts')
      return reply.code(200).send({ success: true, payload: exchangeMetadata() })
    }
  )
}

export default routes
