// @FEAT:trading @COMP:route @TYPE:core
import type { FastifyInstance } from 'fastify'
import { dailySummaries } from '../../src/trading/read/daily-summaries.ts'
import { addCollection } from './collection.ts'

/** The daily summaries of accounts. */
export default async function dailySummaryRoutes(app: FastifyInstance) {
  addCollection(app, dailySummaries, {
    summary: 'The days of each account, one item per currency, newest first',
    example: {
      account_id: '7',
      date: '2026-11-22',
      currency: 'USDT',
      start_balance: '10000',
      end_balance: '10011.296',
      realized_pnl: '12.81',
      unrealized_pnl: '-3.2',
      fees: '1.204',
      fees_unknown: 0,
      funding: '-0.31',
      interest: '0',
      executions: 14,
      trades: 6,
      wins: 4,
      losses: 2,
      win_rate: '0.66666666666666666667',
      volume: '18250.4',
      max_drawdown: '-0.0031',
      equity: '10108.096',
      equity_return: '0.0011',
      equity_gaps: 0,
      equity_unvalued: 0,
      balances_as_of: '2026-11-22T14:59:41.000Z',
      orders_as_of: '2026-11-22T14:59:52.000Z',
      marks_as_of: '2026-11-22T14:57:10.000Z',
      positions_unmarked: 0,
      positions_old_mark: 0,
      is_final: true,
      computed_at: '2026-11-22T15:00:14.209Z'
    }
  })
}
