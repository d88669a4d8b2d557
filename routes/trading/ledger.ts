// @FEAT:trading @COMP:route @TYPE:core
import type { FastifyInstance } from 'fastify'
import { ledger } from '../../src/trading/read/ledger.ts'
import { addCollection } from './collection.ts'

/** The ledgers of accounts. */
export default async function ledgerRoutes(app: FastifyInstance) {
  addCollection(app, ledger, {
    summary: 'Deposits, funding, interest and all else that changed a wallet besides fills, newest first',
    description: '`from` and `to` apply to `at`.',
    example: {
      entry_id: '7710',
      account_id: '7',
      wallet: 'FUTURES',
      asset: 'USDT',
      amount: '-0.03120011',
      kind: 'funding',
      exchange_kind: 'FUNDING_FEE',
      exchange_entry_id: '88123450091',
      symbol: 'BTCUSDT',
      at: '2026-11-23T08:00:00.000Z',
      recorded_at: '2026-11-23T08:04:31.290Z'
    }
  })
}
