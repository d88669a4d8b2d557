// @FEAT:exchanges @COMP:plugin @TYPE:integration
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { JOB_PERIODS } from '../src/jobs/job-periods.ts'
import { ExchangeBudgets } from '../src/trading/exchange-budgets.ts'

declare module 'fastify' {
  interface FastifyInstance {
    exchangeBudgets: ExchangeBudgets
  }
}

/** Owns the estimates of what the accounts need of the rate limits. */
async function exchangeBudgets(app: FastifyInstance) {
  const { db, exchanges, log, metrics, replicas } = app
  const budgets = new ExchangeBudgets({
    database: db,
    log,
    periodsMs: JOB_PERIODS,
    replicas: () => replicas.living ?? 1,
    hosts: () => exchanges.status(),
    callCosts: exchanges.callCosts
  })
  app.decorate('exchangeBudgets', budgets)
  metrics.collect(reading => budgets.report(reading))
  app.startUpSteps.exchange_budgets = async () => {
    budgets.start()
    return undefined
  }
  app.addHook('onClose', () => budgets.close())
}

export default fp(exchangeBudgets, {
  name: 'exchange-budgets',
  fastify: '5.x',
  dependencies: ['db', 'exchanges', 'health', 'metrics', 'replicas']
})
