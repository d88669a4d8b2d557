// @FEAT:health-monitoring @COMP:plugin @TYPE:core
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config.ts'
import { Database } from '../src/database/database.ts'
import type { EmbeddedPostgres } from '../src/database/embedded/index.ts'
import { reportPool } from '../src/database/metrics.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The main pool. It has its address, and connects, only after the port is open. */
    db: Database
  }
}

interface DbOptions {
  config: Config
}

/** Owns the main pool and, where no database is named, the embedded server: it is stopped last. */
async function db(app: FastifyInstance, { config }: DbOptions) {
  const database = new Database({
    max: config.DATABASE_POOL_MAX,
    applicationName: config.SERVICE_NAME,
    log: app.log
  })
  app.decorate('db', database)
  app.metrics.collect(reading => reportPool(reading, database.usage()))

  const closing = new AbortController()
  let embedded: Promise<EmbeddedPostgres | undefined> = Promise.resolve(undefined)

  app.addHook('onListen', () => {
    if (config.DATABASE_URL !== undefined) return database.open(config.DATABASE_URL)
    embedded = startEmbedded()
    // Without it the service cannot work: a failure is an unhandled rejection, which ends the process.
    void embedded.then()
  })

  app.addHook('onClose', async () => {
    closing.abort()
    await database.close()
    const [started] = await Promise.allSettled([embedded])
    if (started.status === 'fulfilled') await started.value?.stop()
  })

  async function startEmbedded() {
    // Loaded only here: production installs without the embedded packages.
    const { startEmbeddedPostgres } = await import('../src/database/embedded/index.ts')
    const server = await startEmbeddedPostgres({ dataDir: config.DATA_DIR, log: app.log, signal: closing.signal })
    database.open(server.url)
    return server
  }
}

export default fp(db, { name: 'db', fastify: '5.x', dependencies: ['metrics'] })
