// @FEAT:trading @COMP:route @TYPE:core
import type { FastifyInstance } from 'fastify'
import { books } from '../../src/trading/read/books.ts'
import { addCollection } from './collection.ts'

/** The books of accounts, compared with their exchanges. */
export default async function bookRoutes(app: FastifyInstance) {
  addCollection(app, books, {
    summary: 'Our value and the exchange’s value of each asset and position, by account',
    description:
      'With a difference, the values are those that were compared. Without one, they are the present values, which were read at different times and may differ for a moment.',
    example: {
      account_id: '7',
      wallet: 'SPOT',
      asset: 'BTC',
      market_type: null,
      symbol: null,
      position_side: null,
      ours: '0.5',
      theirs: '0.48',
      difference: '-0.02',
      since: '2026-11-23T09:14:20.000Z',
      reported_at: '2026-11-23T09:26:02.310Z',
      read_at: '2026-11-23T11:58:01.000Z',
      compared_at: '2026-11-23T11:58:01.000Z'
    }
  })
}
