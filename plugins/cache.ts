// @FEAT:price-cache @COMP:plugin @TYPE:integration
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { ClearCommands, type ClearFilter } from '../src/cache/clear-commands.ts'
import { ClientCache } from '../src/cache/client-cache.ts'
import { reportCaches } from '../src/cache/metrics.ts'
import { PriceCache } from '../src/cache/price-cache.ts'
import { warmUp } from '../src/cache/warm-up.ts'
import type { Config } from '../src/config.ts'

declare module 'fastify' {
  interface FastifyInstance {
    caches: {
      prices: PriceCache
      clients: ClientCache
      commands: ClearCommands
    }
  }
}

interface CacheOptions {
  config: Config
  /** Longest wait for the replicas to acknowledge a clear, in milliseconds. Default 1 s. */
  acknowledgedWithinMs?: number | undefined
}

/** A symbol without a readable price keeps none: its cached price expires. The exchange's health reports the row. */
const onInvalidRow = () => {}

/** Owns this replica's caches, their warm-up, and the commands that clear them. */
async function cache(app: FastifyInstance, { config, acknowledgedWithinMs }: CacheOptions) {
  const { exchanges, db, log } = app
  const prices = new PriceCache({
    ttlSeconds: config.PRICE_CACHE_TTL_SECONDS,
    log,
    closing: exchanges.closing,
    instruments: exchanges.instruments,
    read: async (market, signal) => (await exchanges.client(market)).lastPrices({ signal, onInvalidRow }),
    readMarks: async (market, signal) => (await exchanges.client(market)).markPrices({ signal, onInvalidRow })
  })
  const clients = new ClientCache({ max: config.CLIENT_CACHE_MAX, ttlSeconds: config.CLIENT_CACHE_TTL_SECONDS })
  const commands = new ClearCommands({
    database: db,
    instanceId: () => app.replicas.instanceId,
    applicationName: config.SERVICE_NAME,
    log,
    acknowledgedWithinMs,
    clear: ({ type, exchange, market_type: marketType, symbol, dry_run: dryRun }: ClearFilter) => ({
      price: type === 'exchange' ? 0 : prices.clear({ exchange, marketType, symbol }, { dryRun }),
      // Clients have no symbol: a filter with a symbol matches none.
      exchange: type === 'price' || symbol !== undefined ? 0 : clients.clear({ exchange, marketType }, { dryRun })
    })
  })
  app.decorate('caches', { prices, clients, commands })
  app.metrics.collect(reading => reportCaches(reading, prices.stats(), clients.stats()))
  app.startUpSteps.cache_commands = async () => {
    await commands.start()
  }
  app.startUpSteps.price_warm_up = async () => {
    await warmUp({ database: db, prices, log, seconds: config.WARM_UP_SECONDS, closing: exchanges.closing })
  }
  app.addHook('onClose', () => commands.close())
}

export default fp(cache, { name: 'cache', fastify: '5.x', dependencies: ['db', 'health', 'exchanges', 'metrics'] })
