// @FEAT:trading @COMP:route @TYPE:core
import type { FastifyInstance } from 'fastify'
import { equity } from '../../src/trading/read/equity.ts'
import { addCollection } from './collection.ts'

/** The equity of accounts. */
export default async function equityRoutes(app: FastifyInstance) {
  addCollection(app, equity, {
    summary: 'What each account was worth, every ten minutes, newest first',
    example: {
      account_id: '7',
      at: '2026-11-23T11:50:00.000Z',
      currency: 'USDT',
      equity: '10108.096',
      cash: '9011.296',
      holdings: '1100',
      unrealized_pnl: '-3.2',
      unvalued: [{ kind: 'asset', name: 'LUNC', amount: '12' }],
      external_flow: '0',
      flow_at: '2026-11-23T11:55:02.100Z'
    }
  })
}
