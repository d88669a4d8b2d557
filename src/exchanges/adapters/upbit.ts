// @FEAT:exchanges @COMP:service @TYPE:integration

import { SECOND } from '../../async/durations.ts'
import { type AdapterContext, queryOf } from './adapter.ts'
import { type Dialect, DialectClient, SHARED_REFUSALS } from './upbit-dialect.ts'

const UPBIT: Dialect = {
  exchange: 'UPBIT',
  limits: { public: { weight: 10, perMs: SECOND }, private: { weight: 30, perMs: SECOND } },
  prices: {
    path: '/v1/ticker/all',
    query: queryOf({ quote_currencies: 'KRW' }),
    fields: { symbol: 'market', price: 'trade_price', time: 'timestamp' }
  },
  openOrdersPath: '/v1/orders/open',
  timestamped: false,
  refusals: { ...SHARED_REFUSALS, no_authorization_i_p: 'permission', notfoundmarket: 'bad_symbol' }
}

/** Upbit: spot, KRW. */
export class UpbitClient extends DialectClient {
  constructor(context: AdapterContext) {
    super(context, UPBIT)
  }
}
