// @FEAT:exchanges @COMP:plugin @TYPE:integration
import { setMaxListeners } from 'node:events'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config.ts'
import type { Market } from '../src/domain/market.ts'
import { ExchangeBans } from '../src/exchange-bans/exchange-bans.ts'
import type { CallCosts } from '../src/exchanges/call-costs.ts'
import { exchangeDetails } from '../src/exchanges/exchange-check.ts'
import type { ExchangeClient } from '../src/exchanges/exchange-client.ts'
import type { ClientOptions, ExchangeRegistry, ExchangeReport } from '../src/exchanges/exchange-registry.ts'
import { Instruments } from '../src/exchanges/instruments.ts'
import { InvalidRows } from '../src/exchanges/invalid-rows.ts'
import { countExchangeCall, countInvalidRows, reportExchanges } from '../src/exchanges/metrics.ts'
import { urlsOf } from '../src/exchanges/url-settings.ts'

declare module 'fastify' {
  interface FastifyInstance {
    exchanges: {
      /** A client; cheap. @throws {NotOffered} when the exchange has no such market or no testnet */
      client(options: ClientOptions): Promise<ExchangeClient>
      /** The limits of a market and what its calls take from them. Makes no call. */
      callCosts(market: Market, isTestnet: boolean): Promise<CallCosts>
      /** The state of every exchange that has a client; empty before the first client. */
      status(): ExchangeReport[]
      /** The instruments of the real markets. */
      instruments: Instruments
      /** What the latest readings found, and what waits to be stored. */
      invalidRows: InvalidRows
      /** Aborted when the service closes. */
      closing: AbortSignal
    }
  }
}

/**
 * Owns the connections to the exchanges, and the bans that all replicas apply. The modules are loaded and the agent is
 * made for the first client.
 */
async function exchanges(app: FastifyInstance, { config }: { config: Config }) {
  const closing = closingController()
  let connected: ReturnType<typeof connect> | undefined
  let registry: ExchangeRegistry | undefined
  const invalidRows = new InvalidRows()
  const bans = new ExchangeBans({
    database: app.db,
    instanceId: () => app.replicas.instanceId,
    applicationName: config.SERVICE_NAME,
    log: app.log,
    apply: current => registry?.applyBans(current)
  })

  async function connect() {
    const [{ createHttpAgent }, { ExchangeRegistry }] = await Promise.all([
      import('../src/http-agent.ts'),
      import('../src/exchanges/exchange-registry.ts')
    ])
    const dispatcher = createHttpAgent(config)
    const counters = { onCall: countExchangeCall(app.metrics), onInvalidRows: countInvalidRows(app.metrics) }
    const options = { ...counters, invalidRows, replicas: () => app.replicas.living ?? 1 }
    registry = new ExchangeRegistry({ dispatcher, urls: urlsOf(config), ...options, onBan: ban => bans.report(ban) })
    registry.applyBans(bans.current())
    return { dispatcher, registry }
  }

  const connection = async () => {
    connected ??= connect()
    return await connected
  }
  const client = async (options: ClientOptions) => (await connection()).registry.client(options)

  app.decorate('exchanges', {
    client,
    callCosts: async (market: Market, isTestnet: boolean) => (await connection()).registry.callCosts(market, isTestnet),
    instruments: new Instruments({
      database: app.db,
      log: app.log,
      closing: closing.signal,
      read: async (market, options) => (await client(market)).instruments(options)
    }),
    status: () => registry?.status() ?? [],
    invalidRows,
    closing: closing.signal
  })

  app.metrics.collect(reading => reportExchanges(reading, registry?.status() ?? []))
  app.healthChecks.push(() => exchangeDetails(registry?.status() ?? [], Date.now()))

  app.startUpSteps.exchange_bans = async () => {
    await bans.start()
    return { apply: bans.current().length }
  }

  app.addHook('onClose', async () => {
    closing.abort(new Error('the service closes'))
    await bans.close()
    await (await connected)?.dispatcher.destroy()
  })
}

/** Aborts the reads when the service closes. Every read in progress listens to its signal: a few for each market. */
function closingController(): AbortController {
  const controller = new AbortController()
  setMaxListeners(0, controller.signal)
  return controller
}

export default fp(exchanges, {
  name: 'exchanges',
  fastify: '5.x',
  dependencies: ['db', 'health', 'metrics', 'replicas']
})
