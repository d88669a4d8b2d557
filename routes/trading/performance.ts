// @FEAT:trading @COMP:route @TYPE:core
import type { FastifyInstance } from 'fastify'
import { performance } from '../../src/trading/read/performance.ts'
import { addCollection } from './collection.ts'

/** The performance of strategies, by day. */
export default async function performanceRoutes(app: FastifyInstance) {
  addCollection(app, performance, {
    summary: 'What each strategy earned, by day, newest first',
    example: {
      strategy_id: '3',
      date: '2026-11-22',
      currency: 'USDT',
      is_testnet: false,
      daily_pnl: '12.5',
      cumulative_pnl: '840.25',
      daily_return: '0.0025',
      cumulative_return: '0.1827401',
      executions: 14,
      executions_apart: 0,
      trades: 6,
      wins: 4,
      win_rate: '0.66666666666666666667',
      fees: '1.204',
      fees_unknown: 0,
      funding: '-0.31',
      max_drawdown: '-0.0412',
      volatility: '0.21',
      sharpe: '1.84',
      sortino: null,
      computed_at: '2026-11-22T15:00:14.209Z'
    }
  })
}
