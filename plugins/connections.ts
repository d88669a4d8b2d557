// @FEAT:health-monitoring @COMP:plugin @TYPE:core
import type { Server } from 'node:http'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config.ts'
import { ConnectionCounts, type Port } from '../src/connections/connection-counts.ts'
import { type ConnectionLimit, connectionLimit } from '../src/connections/connection-limit.ts'
import { HttpConnections } from '../src/connections/http-connections.ts'

declare module 'fastify' {
  interface FastifyInstance {
    connections: Connections
  }
}

/** The connections of the ports. */
interface Connections {
  limit: ConnectionLimit
  /** Counts of all ports, those of the probe thread too. */
  counts: ConnectionCounts
  /** The connections of the main port. */
  main: HttpConnections
  /** Returns what limits the connections of another port of this thread. Its server is attached by the caller. */
  limited(port: Port): HttpConnections
}

/** Limits the connections of the main port, and ends them when the service closes. */
async function connections(app: FastifyInstance, { config }: { config: Config }) {
  const limit = connectionLimit(config)
  const counts = new ConnectionCounts()
  if (limit.reserved < limit.needed || limit.max < (config.MAX_CONNECTIONS ?? 0)) {
    const { max, openFiles: open_files, needed } = limit
    app.log.warn({ max_connections: max, open_files, needed }, 'limit of open files is low')
  }
  const limited = (port: Port) =>
    new HttpConnections({
      max: limit.max,
      counts: counts.writer(port),
      onFull: () => app.log.warn({ port, max: limit.max }, 'connections at the maximum')
    })
  const main = limited('main')
  main.attach(app.server)
  app.decorate('connections', { limit, counts, main, limited })
  // For HOST=localhost Fastify makes a second server for the other address family.
  app.addHook('onListen', () => {
    for (const server of serversOf(app)) main.attach(server)
  })
  // Before Fastify waits until the connections have ended.
  app.addHook('preClose', async () => main.close())
}

/** The servers that Fastify has made in addition to `app.server`; it has no public list of them. */
function serversOf(app: FastifyInstance): Server[] {
  const symbol = Object.getOwnPropertySymbols(app).find(({ description }) => description === 'fastify.serverBindings')
  const servers: unknown = symbol && Reflect.get(app, symbol)
  return Array.isArray(servers) ? servers : []
}

export default fp(connections, { name: 'connections', fastify: '5.x' })
