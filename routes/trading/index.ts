// @FEAT:trading @COMP:route @TYPE:core
import type { FastifyInstance } from 'fastify'
import balanceRoutes from './balances.ts'
import bookRoutes from './books.ts'
import dailySummaryRoutes from './daily-summaries.ts'
import equityRoutes from './equity.ts'
import executionRoutes from './executions.ts'
import ledgerRoutes from './ledger.ts'
import orderRoutes from './orders.ts'
import performanceRoutes from './performance.ts'
import positionRoutes from './positions.ts'

/** All paths below /api/trading/, unknown paths too: for every signed-in caller. `request.caller` decides what they read. */
export default async function tradingRoutes(app: FastifyInstance) {
  app.register(signedIn, { prefix: '/api/trading' })
}

async function signedIn(trading: FastifyInstance) {
  trading.addHook('onRequest', trading.requireSignedIn)
  trading.addHook('onRequest', trading.refuseForeign)
  // In this scope, so that an unknown path requires a sign-in too.
  trading.setNotFoundHandler(trading.answerNotFound)

  trading.register(performanceRoutes)
  trading.register(dailySummaryRoutes)
  trading.register(equityRoutes)
  trading.register(positionRoutes)
  trading.register(balanceRoutes)
  trading.register(orderRoutes)
  trading.register(executionRoutes)
  trading.register(ledgerRoutes)
  trading.register(bookRoutes)
}
