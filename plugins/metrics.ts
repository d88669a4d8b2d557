// @FEAT:health-monitoring @COMP:plugin @TYPE:core
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config.ts'
import { Metrics } from '../src/metrics/metrics.ts'
import { MetricsServer } from '../src/metrics/metrics-server.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Where everything counts what it does, or says how it is read. */
    metrics: Metrics
    /** The port of the metrics, once the service listens; undefined where it is turned off. */
    readonly metricsPort: number | undefined
  }
}

export interface MetricsOptions {
  config: Config
  version: string
}

/** Owns the figures of the process and the port that tells them: one of its own, so that they are never on the public one. */
async function metrics(app: FastifyInstance, { config, version }: MetricsOptions) {
  const own = new Metrics({ log: app.log })
  own.collect(reading => {
    reading.set('trading_health_build_info', { version, node_version: process.version }, 1)
  })
  app.decorate('metrics', own)

  let port: number | undefined
  app.decorate('metricsPort', { getter: () => port })
  if (config.METRICS_PORT === 'off') return

  const server = new MetricsServer({
    host: config.METRICS_HOST ?? config.HOST,
    port: config.METRICS_PORT,
    log: app.log,
    render: async () => {
      const { CONTENT_TYPE, expose } = await import('../src/metrics/exposition.ts')
      return { type: CONTENT_TYPE, text: await expose(await own.read()) }
    }
  })
  // Before the main port opens, so that a port in use stops the start.
  app.addHook('onReady', async () => {
    port = await server.listen()
  })
  app.addHook('onClose', async () => server.close())
}

export default fp(metrics, { name: 'metrics', fastify: '5.x' })
