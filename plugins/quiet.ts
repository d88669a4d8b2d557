// @FEAT:health-monitoring @COMP:plugin @TYPE:integration
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { endQuietWindow, type QuietWindow, quietWindow, startQuietWindow } from '../src/notifications/quiet-window.ts'
import { type InTransaction, limitedTransaction } from '../src/scheduler/transaction.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The quiet window of the cluster. All throw DatabaseUnavailableError. */
    quiet: {
      /** The current window; undefined without one. */
      current(): Promise<QuietWindow | undefined>
      /** Starts a window, which replaces the current one. */
      start(
        window: { by: string; reason: string; forMinutes: number },
        inTransaction: InTransaction
      ): Promise<QuietWindow>
      /** Ends the current window, and has its summary written. Idempotent. */
      end(inTransaction: InTransaction): Promise<void>
    }
  }
}

/** Changes the quiet window, and evaluates the alerts after each change. */
async function quiet(app: FastifyInstance) {
  const { db } = app
  app.decorate('quiet', {
    current: () => db.run(sql => quietWindow(sql)),
    start: async (window, inTransaction) => {
      const started = await limitedTransaction(db, async tx => {
        const started = await startQuietWindow(tx, window)
        await inTransaction(tx)
        return started
      })
      void app.evaluateAlerts()
      return started
    },
    end: async inTransaction => {
      await limitedTransaction(db, async tx => {
        await endQuietWindow(tx)
        await inTransaction(tx)
      })
      void app.evaluateAlerts()
    }
  })
}

export default fp(quiet, { name: 'quiet', fastify: '5.x', dependencies: ['db', 'alerts'] })
