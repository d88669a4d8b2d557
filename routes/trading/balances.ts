// @FEAT:trading @COMP:route @TYPE:core
import type { FastifyInstance } from 'fastify'
import { balances } from '../../src/trading/read/balances.ts'
import { addCollection } from './collection.ts'

/** The balances of accounts. */
export default async function balanceRoutes(app: FastifyInstance) {
  addCollection(app, balances, {
    summary: 'Balances of each account, by wallet and asset, as they were read last',
    example: {
      account_id: '7',
      market_type: 'SPOT',
      asset: 'BTC',
      free: '0.48',
      locked: '0.02',
      total: '0.5',
      synced_at: '2026-11-23T11:59:03.000Z'
    }
  })
}
