// @FEAT:price-cache @COMP:route @TYPE:core
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type Static, Type } from '@sinclair/typebox'
import type { ClearFilter } from '../../src/cache/clear-commands.ts'
import { isExchangeName, isMarketType } from '../../src/domain/market.ts'
import { invalidField } from '../../src/errors.ts'
import { type Language, message } from '../../src/messages.ts'
import type { Handler } from '../handler.ts'
import { closed, errors, nullable } from '../schemas.ts'

const tags = ['price-cache']
const Count = Type.Integer({ minimum: 0 })
const AgeSeconds = Type.Number({ minimum: 0 })

const ClientCacheStats = Type.Object(
  {
    total_cached_clients: Count,
    active_clients: Count,
    expired_clients: Count,
    cache_max_size: Count,
    cache_ttl_seconds: Count
  },
  closed
)

const MarketStats = Type.Object(
  {
    exchange: Type.String(),
    market_type: Type.String(),
    entries: Count,
    hits: Count,
    misses: Count,
    oldest_age_seconds: nullable(AgeSeconds)
  },
  closed
)

const PriceCacheStats = Type.Object(
  {
    entries: Type.Integer({ minimum: 0, description: 'current prices' }),
    expired: Type.Integer({ minimum: 0, description: 'prices that are too old to be used' }),
    max_entries: Count,
    ttl_seconds: Count,
    hits: Count,
    misses: Count,
    updates: Count,
    hit_rate: Type.Number({ minimum: 0, maximum: 1 }),
    oldest_age_seconds: nullable(AgeSeconds),
    frozen: Type.Integer({ minimum: 0, description: 'symbols whose price does not change while their market changes' }),
    exchanges: Type.Array(MarketStats)
  },
  closed
)

const statsExample = {
  success: true,
  instance: 'trading-health-7f9c-a1b2c3d4',
  cache_stats: {
    total_cached_clients: 12,
    active_clients: 10,
    expired_clients: 2,
    cache_max_size: 100,
    cache_ttl_seconds: 3600
  },
  price_cache: {
    entries: 412,
    expired: 3,
    max_entries: 100_000,
    ttl_seconds: 90,
    hits: 1980,
    misses: 20,
    updates: 24_720,
    hit_rate: 0.99,
    oldest_age_seconds: 21.4,
    frozen: 0,
    exchanges: [
      {
        exchange: 'BINANCE',
        market_type: 'FUTURES',
        entries: 412,
        hits: 1980,
        misses: 20,
        oldest_age_seconds: 21.4
      }
    ]
  },
  message: 'Market 캐시를 통한 API 호출 최적화 활성화됨'
}

const statsSchema = {
  tags,
  summary: 'The caches of the replica that answers',
  response: {
    200: Type.Object(
      {
        success: Type.Literal(true),
        instance: Type.String({ description: 'the replica: each one has its own caches' }),
        cache_stats: ClientCacheStats,
        price_cache: PriceCacheStats,
        message: Type.String()
      },
      { ...closed, examples: [statsExample] }
    ),
    ...errors(401, 403, 503)
  }
}

const Name = Type.String({ minLength: 1, maxLength: 32 })
const ClearBody = Type.Object(
  {
    exchange: Type.Optional({ ...Name, description: 'such as BINANCE, in any case' }),
    market_type: Type.Optional({ ...Name, description: 'SPOT or FUTURES' }),
    symbol: Type.Optional(
      Type.String({ minLength: 1, maxLength: 64, description: 'unified (BTCUSDT) or as the exchange spells it' })
    ),
    type: Type.Optional({ ...Name, description: 'price, exchange or all; all by default' }),
    dry_run: Type.Optional(Type.Boolean({ description: 'count the entries, clear nothing' }))
  },
  closed
)

const clearSchema = {
  tags,
  summary: 'Clear the caches of the whole cluster; an entry is cleared when it matches every filter',
  body: Type.Union([ClearBody, Type.Null()], {
    examples: [{ type: 'price', exchange: 'BINANCE', market_type: 'FUTURES' }]
  }),
  response: {
    200: Type.Object(
      {
        success: Type.Literal(true),
        message: Type.String(),
        cleared: Type.Object({ price: Count, exchange: Count }, closed),
        replicas: Type.Object(
          {
            acknowledged: Type.Integer({
              minimum: 0,
              description: 'replicas that acknowledged within a second; the others apply the command later'
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
    ),
    ...errors(400, 401, 403, 503)
  }
}

/** The caches: their contents, and clearing them in the whole cluster. */
const routes: FastifyPluginAsyncTypebox = async app => {
  app.get('/cache-stats', { schema: statsSchema }, stats)
  app.post('/cache-clear', { schema: clearSchema }, clear)
}

const stats: Handler<typeof statsSchema> = async ({ server, language }, reply) =>
  reply.code(200).send({
    success: true,
    instance: server.replicas.instanceId,
    cache_stats: server.caches.clients.stats(),
    price_cache: server.caches.prices.stats(),
    message: message('cache.stats', language)
  })

const clear: Handler<typeof clearSchema> = async (request, reply) => {
  const { server, language, caller, audit } = request
  const filter = filterOf(request.body ?? {}, language)
  const result = await server.caches.commands.request(filter, caller.name, tx => audit.succeeded(tx))
  const count = result.cleared.price + result.cleared.exchange
  const key = filter.dry_run ? 'cache.dry_run' : (`cache.cleared.${filter.type}` as const)
  return reply.code(200).send({ success: true, message: message(key, language, { count }), ...result })
}

/** @throws {ServiceError} VALIDATION_FAILED for an unknown name: ignoring the filter would clear more than requested */
function filterOf(body: Static<typeof ClearBody>, language: Language): ClearFilter {
  const exchange = body.exchange?.toUpperCase()
  if (exchange !== undefined && !isExchangeName(exchange)) throw invalidField('/body/exchange', language)
  const marketType = body.market_type?.toUpperCase()
  if (marketType !== undefined && !isMarketType(marketType)) throw invalidField('/body/market_type', language)
  const type = (body.type ?? 'all').toLowerCase()
  if (type !== 'price' && type !== 'exchange' && type !== 'all') throw invalidField('/body/type', language)
  const symbol = body.symbol?.toUpperCase()
  return { exchange, market_type: marketType, symbol, type, dry_run: body.dry_run ?? false }
}

export default routes
