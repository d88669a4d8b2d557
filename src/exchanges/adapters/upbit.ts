// @FEAT:exchanges @COMP:service @TYPE:integration

import { SECOND } from '../../async/durations.ts'
import type { HeaderReader } from '../http/exchange-call.ts'
import type { Usage } from '../http/rate-budget.ts'
import { type AdapterContext, queryOf } from './adapter.ts'
import { type Dialect, DialectClient, SHARED_REFUSALS } from './upbit-dialect.ts'

/** Public calls per address and second, signed ones per pocket of an account: https://docs.upbit.com/kr/reference/rate-limits */
const LIMITS = { public: { weight: 10, perMs: SECOND }, private: { weight: 30, perMs: SECOND } }

const UPBIT: Dialect = {
  exchange: 'UPBIT',
  limits: LIMITS,
  usage: { limits: ['public', 'private'], read: upbitUsage },
  prices: {
    path: '/v1/ticker/all',
    query: queryOf({ quote_currencies: 'KRW' }),
    fields: { symbol: 'market', price: 'trade_price', time: 'timestamp' }
  },
  openOrdersPath: '/v1/orders/open',
  closedOrders: { path: '/v1/orders/closed', has: 'windows' },
  timestamped: false,
  refusals: { ...SHARED_REFUSALS, no_authorization_i_p: 'permission', notfoundmarket: 'bad_symbol' }
}

/**
 * What `Remaining-Req: group=default; min=1800; sec=29` leaves of a limit: `sec` are the calls left in this second, `min`
 * is not used any more (https://docs.upbit.com/kr/docs/rate-limits). Signed reads are in the group `default`.
 */
function upbitUsage(header: HeaderReader): Usage | null {
  const [, group, left] = /^group=([a-z-]{1,40});.*\bsec=(\d{1,6})$/.exec(header('remaining-req') ?? '') ?? []
  if (left === undefined) return null
  const limit = group === 'default' ? 'private' : 'public'
  return { limit, used: Math.max(0, LIMITS[limit].weight - Number(left)) }
}

/** Upbit: spot, KRW. */
export class UpbitClient extends DialectClient {
  constructor(context: AdapterContext) {
    super(context, UPBIT)
  }
}
