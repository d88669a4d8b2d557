// @FEAT:price-cache @COMP:route @TYPE:core
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type Static, Type } from '@sinclair/typebox'
import type { ClearFilter } from '../../src/cache/clear-commands.ts'
import { isExchangeName, isMarketType } from '../../src/domain/market.ts'
import { type Language, languageOf, message } from '../../src/messages.ts'
import { closed, errors, refuse } from './schemas.ts'

const Count = Type.Integer({ minimum: 0 })

const Stats = Type.Object(
  {
    success: Type.Literal(true),
    instance: Type.String({ description: 'whose caches these are: each replica has its own' }),
    cache_stats: Type.Object(
      {
        total_cached_clients: Count,
        active_clients: Count,
        expired_clients: Count,
        cache_max_size: Count,
        cache_ttl_seconds: Count
      },
      closed
    ),
    price_cache: Type.Object(
      {
        entries: Type.Integer({ minimum: 0, description: 'current ones' }),
        expired: Type.Integer({ minimum: 0, description: 'too old to be served' }),
        max_entries: Count,
        ttl_seconds: Count,
        hits: Count,
        misses: Count,
        updates: Count,
        hit_rate: Type.Number({ minimum: 0, maximum: 1 }),
        oldest_age_seconds: Type.Number({ minimum: 0 }),
        frozen: Type.Integer({ minimum: 0, description: 'symbols that stand still while their market moves' }),
        exchanges: Type.Array(
          Type.Object(
            {
              exchange: Type.String(),
              market_type: Type.String(),
              entries: Count,
              hits: Count,
              misses: Count,
              oldest_age_seconds: Type.Number({ minimum: 0 })
            },
            closed
          )
        )
      },
      closed
    ),
    message: Type.String()
  },
  closed
)

const Name = Type.String({ minLength: 1, maxLength: 32 })
const ClearBody = Type.Object(
  {
    exchange: Type.Optional(Type.String({ minLength: 1, maxLength: 32, description: 'such as BINANCE, in any case' })),
    market_type: Type.Optional(Type.String({ minLength: 1, maxLength: 32, description: 'SPOT or FUTURES' })),
    symbol: Type.Optional(
      Type.String({ minLength: 1, maxLength: 64, description: 'unified (BTCUSDT) or as the exchange spells it' })
    ),
    type: Type.Optional({ ...Name, description: 'price, exchange or all, which it is unless given' }),
    dry_run: Type.Optional(Type.Boolean({ description: 'count, and clear nothing' }))
  },
  { ...closed, examples: [{ type: 'price', exchange: 'BINANCE', market_type: 'FUTURES' }] }
)

const ClearAnswer = Type.Object(
  {
    success: Type.Literal(true),
    message: Type.String(),
    cleared: Type.Object({ price: Count, exchange: Count }, closed),
    replicas: Type.Object(
      {
        acknowledged: Type.Integer({
          minimum: 0,
          description: 'answered within a second; the others obey when they can'
        }),
        total: Count
      },
      closed
    )
  },
  {
    ...closed,
    examples: [
      {
        success: true,
        message: '가격 캐시 정리 완료 - 5개 항목 삭제',
        cleared: { price: 5, exchange: 0 },
        replicas: { acknowledged: 3, total: 3 }
      }
    ]
  }
)

/** The caches: what is in them, and clearing them in the whole cluster. */
const routes: FastifyPluginAsyncTypebox = async app => {
  const { caches, replicas } = app
  const tags = ['price-cache']

  app.get(
    '/cache-stats',
    { schema: { tags, summary: "This replica's caches", response: { 200: Stats, ...errors(401, 403, 503) } } },
    async (request, reply) =>
      reply.code(200).send({
        success: true,
        instance: replicas.instanceId,
        cache_stats: caches.clients.stats(),
        price_cache: caches.prices.stats(),
        message: message('cache.stats', languageOf(request.headers['accept-language']))
      })
  )

  app.post(
    '/cache-clear',
    {
      schema: {
        tags,
        summary: 'Clear caches in the whole cluster; every filter given must fit',
        body: Type.Union([ClearBody, Type.Null()]),
        response: { 200: ClearAnswer, ...errors(400, 401, 403, 503) }
      }
    },
    async (request, reply) => {
      const language = languageOf(request.headers['accept-language'])
      const filter = filterOf(request.body ?? {}, language)
      const { username } = request.admin
      const done = await caches.commands.request(filter, username, tx => request.audit.succeeded(tx))
      const count = done.cleared.price + done.cleared.exchange
      const key = filter.dry_run ? 'cache.dry_run' : (`cache.cleared.${filter.type}` as const)
      return reply.code(200).send({ success: true, message: message(key, language, { count }), ...done })
    }
  )
}

/** @throws {ServiceError} VALIDATION_FAILED for a name that is not known: it must never widen what is cleared */
function filterOf(
  { exchange, market_type, symbol, type = 'all', dry_run = false }: Static<typeof ClearBody>,
  language: Language
): ClearFilter {
  const exchangeName = exchange?.toUpperCase()
  if (exchangeName !== undefined && !isExchangeName(exchangeName)) throw refuse('exchange', language)
  const marketType = market_type?.toUpperCase()
  if (marketType !== undefined && !isMarketType(marketType)) throw refuse('market_type', language)
  const kind = type.toLowerCase()
  if (kind !== 'price' && kind !== 'exchange' && kind !== 'all') throw refuse('type', language)
  return { exchange: exchangeName, market_type: marketType, symbol: symbol?.toUpperCase(), type: kind, dry_run }
}

export default routes
