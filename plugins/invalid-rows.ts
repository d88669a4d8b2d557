// @FEAT:exchanges @COMP:plugin @TYPE:core
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { InvalidRowRecorder } from '../src/exchanges/invalid-row-recorder.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Stores the invalid rows of the exchanges. */
    invalidRowRecorder: InvalidRowRecorder
  }
}

/** Owns the writer of invalid rows. There are none before the schema exists: exchanges are called after that. */
async function invalidRows(app: FastifyInstance) {
  const { db, log, exchanges } = app
  const recorder = new InvalidRowRecorder({ database: db, log, invalidRows: exchanges.invalidRows })
  app.decorate('invalidRowRecorder', recorder)
  app.addHook('onListen', () => recorder.start())
  app.addHook('preClose', () => recorder.stop())
}

export default fp(invalidRows, { name: 'invalid-rows', fastify: '5.x', dependencies: ['db', 'exchanges'] })
