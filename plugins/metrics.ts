// @FEAT:health-monitoring @COMP:plugin @TYPE:core
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config.ts'
import { CLOSE_REASONS, PORTS } from '../src/connections/connection-counts.ts'
import { Metrics, type Reading } from '../src/metrics/metrics.ts'
import { MetricsServer } from '../src/metrics/metrics-server.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Counts events, and collects the metrics of states. */
    metrics: Metrics
    /**
     * Opens the metrics port; later calls return the result of the first one.
     * @returns the port; undefined when it is `off`
     * @throws {StartError} when it cannot be listened on
     */
    openMetricsPort(): Promise<number | undefined>
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
  registry.collect(reading => reportConnections(app, reading))
  app.decorate('metrics', registry)
  const { METRICS_PORT: port } = config
  if (port === 'off') {
    app.decorate('openMetricsPort', async () => undefined)
    return
  }

  const server = new MetricsServer({
    host: config.METRICS_HOST ?? config.HOST,
    hostSetting: config.METRICS_HOST === undefined ? 'HOST' : 'METRICS_HOST',
    port,
    log: app.log,
    connections: app.connections.limited('metrics'),
    render: async () => {
      const { CONTENT_TYPE, expose } = await import('../src/metrics/exposition.ts')
      return { type: CONTENT_TYPE, text: await expose(await registry.read()) }
    }
  })
  let opened: Promise<number> | undefined
  app.decorate('openMetricsPort', () => {
    opened ??= server.listen()
    return opened
  })
  app.addHook('onClose', async () => server.close())
}

function reportConnections({ connections: { limit, counts } }: FastifyInstance, reading: Reading): void {
  reading.set('trading_health_max_connections', {}, limit.max)
  for (const port of PORTS) {
    const { open, closed } = counts.read(port)
    reading.set('trading_health_open_connections', { port }, open)
    for (const reason of CLOSE_REASONS) {
      reading.set('trading_health_closed_connections_total', { port, reason }, closed[reason])
    }
  }
}

export default fp(metrics, { name: 'metrics', fastify: '5.x', dependencies: ['connections'] })
