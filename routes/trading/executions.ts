// @FEAT:trading @COMP:route @TYPE:core
import type { FastifyInstance } from 'fastify'
import { executions } from '../../src/trading/read/executions.ts'
import { addCollection } from './collection.ts'

/** The executions of accounts. */
export default async function executionRoutes(app: FastifyInstance) {
  addCollection(app, executions, {
    summary: 'Executions of orders, newest first',
    description: '`from` and `to` apply to `executed_at`.',
    example: {
      execution_id: '90211',
      order_id: '5120',
      account_id: '7',
      strategy_id: '3',
      strategy_account_id: '11',
      market_type: 'FUTURES',
      exchange_trade_id: '318822410',
      symbol: 'BTCUSDT',
      base: 'BTC',
      quote: 'USDT',
      side: 'SELL',
      position_side: 'BOTH',
      price: '91250.5',
      quantity: '0.002',
      fee: '0.0730004',
      fee_asset: 'USDT',
      fee_value: '0.0730004',
      realized_pnl: '2.501',
      exchange_realized_pnl: '2.501',
      net_pnl: '2.4279996',
      round_trip_pnl: '2.3550012',
      round_trip_opened_at: '2026-11-23T08:02:11.000Z',
      executed_at: '2026-11-23T11:42:07.318Z',
      recorded_at: '2026-11-23T11:42:29.004Z'
    }
  })
}
