// @FEAT:health-monitoring @COMP:plugin @TYPE:core
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { BookMonitor } from '../src/trading/book-monitor.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The unexplained differences between our books and the exchanges. */
    books: BookMonitor
  }
}

/** Owns the check `books` and its metrics. */
async function books(app: FastifyInstance) {
  const { db, metrics, log, startUpSteps } = app
  const monitor = new BookMonitor({ database: db, log })
  app.decorate('books', monitor)
  app.healthChecks.push(() => monitor.details())
  metrics.collect(reading => monitor.report(reading))
  startUpSteps.books = async () => {
    monitor.start()
    return { check: monitor.details().name }
  }
  app.addHook('onClose', () => monitor.close())
}

export default fp(books, { name: 'books', fastify: '5.x', dependencies: ['db', 'health', 'metrics'] })
