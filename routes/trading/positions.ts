// @FEAT:trading @COMP:route @TYPE:core
import type { FastifyInstance } from 'fastify'
import { positions } from '../../src/trading/read/positions.ts'
import { addCollection } from './collection.ts'

/** The positions of strategies and accounts. */
export default async function positionRoutes(app: FastifyInstance) {
  addCollection(app, positions, {
    summary: 'Positions of strategies and of accounts themselves as they are now, those opened last first',
    description: 'A closed position is an item too, with `quantity` 0: it has the amounts of its whole life.',
    example: {
      position_id: '41',
      account_id: '7',
      strategy_id: '3',
      strategy_account_id: '11',
      market_type: 'FUTURES',
      symbol: 'BTCUSDT',
      position_side: 'BOTH',
      base: 'BTC',
      quote: 'USDT',
      quantity: '-0.002',
      entry_price: '91250.5',
      mark_price: '91198.2',
      marked_at: '2026-11-23T11:58:40.000Z',
      unrealized_pnl: '0.1046',
      realized_pnl: '812.31',
      fees: '44.0271',
      funding: '-3.18',
      net_pnl: '765.1029',
      updated_at: '2026-11-23T11:58:47.512Z'
    }
  })
}
