// @FEAT:health-monitoring @COMP:plugin @TYPE:core
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config.ts'
import { Metrics } from '../src/metrics/metrics.ts'
import { MetricsServer } from '../src/metrics/metrics-server.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Counts events, and collects the metrics of states. */
    metrics: Metrics
    /** The port of the metrics, once the service listens; undefined when it is `off`. */
    readonly metricsPort: number | undefined
  }
}

interface MetricsOptions {
  config: Config
  version: string
}

/** Owns the metrics of the process and their port, which is separate so that they are never on the public port. */
async function metrics(app: FastifyInstance, { config, version }: MetricsOptions) {
  const registry = new Metrics({ log: app.log })
  registry.collect(reading => {
    reading.set('trading_health_build_info', { version, node_version: process.version }, 1)
  })
  app.decorate('metrics', registry)

  let port: number | undefined
  app.decorate('metricsPort', { getter: () => port })
  if (config.METRICS_PORT === 'off') return

  const server = new MetricsServer({
    host: config.METRICS_HOST ?? config.HOST,
    port: config.METRICS_PORT,
    log: app.log,
    render: async () => {
      const { CONTENT_TYPE, expose } = await import('../src/metrics/exposition.ts')
      return { type: CONTENT_TYPE, text: await expose(await registry.read()) }
    }
  })
  // Before the main port opens, so that the start fails when the port is in use.
  app.addHook('onReady', async () => {
    port = await server.listen()
  })
  app.addHook('onClose', async () => server.close())
}

export default fp(metrics, { name: 'metrics', fastify: '5.x' })
