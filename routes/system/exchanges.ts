// @FEAT:exchanges @COMP:route @TYPE:core
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { Handler } from '../handler.ts'
import { closed, errors } from '../schemas.ts'

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

const upbitExample = {
  name: 'Upbit',
  supports_spot: true,
  supports_futures: false,
  supports_perpetual: false,
  has_testnet: false,
  quote_currencies: ['KRW']
}

const metadataSchema = {
  tags: ['exchanges'],
  summary: 'The supported exchanges and what they offer',
  response: {
    200: Type.Object(
      { success: Type.Literal(true), payload: Type.Record(Type.String(), Metadata) },
      { ...closed, examples: [{ success: true, payload: { upbit: upbitExample } }] }
    ),
    ...errors(401, 403, 503)
  }
}

/** The supported exchanges. */
const routes: FastifyPluginAsyncTypebox = async app => {
  app.get('/exchange-metadata', { schema: metadataSchema }, metadata)
}

const metadata: Handler<typeof metadataSchema> = async (_request, reply) => {
  // The catalogue imports the adapters: they are not loaded at the start.
  const { exchangeMetadata } = await import('../../src/exchanges/catalogue.ts')
  return reply.code(200).send({ success: true, payload: exchangeMetadata() })
}

export default routes
