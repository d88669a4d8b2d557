// @FEAT:trading @COMP:route @TYPE:core
import type { FastifyInstance } from 'fastify'
import { orders } from '../../src/trading/read/orders.ts'
import { addCollection } from './collection.ts'

/** The orders of accounts. */
export default async function orderRoutes(app: FastifyInstance) {
  addCollection(app, orders, {
    summary: 'Orders, newest first',
    description: '`from` and `to` apply to `created_at`.',
    example: {
      order_id: '5120',
      account_id: '7',
      strategy_id: '3',
      strategy_account_id: '11',
      market_type: 'FUTURES',
      exchange_order_id: '9007199254740993001',
      symbol: 'BTCUSDT',
      exchange_symbol: 'BTCUSDT',
      base: 'BTC',
      quote: 'USDT',
      origin: 'own',
      side: 'SELL',
      position_side: 'BOTH',
      order_type: 'LIMIT',
      price: '91250.5',
      stop_price: null,
      quantity: '0.005',
      filled_quantity: '0.002',
      average_price: '91250.5',
      is_mark_price: false,
      status: 'partially_filled',
      misses: 0,
      error_code: null,
      mismatch: null,
      flagged_at: null,
      superseded_at: null,
      last_checked_at: '2026-11-23T11:59:41.120Z',
      created_at: '2026-11-23T11:40:02.775Z',
      updated_at: '2026-11-23T11:42:29.004Z'
    }
  })
}
