// @FEAT:exchanges @COMP:service @TYPE:integration

import { SECOND } from '../../async/durations.ts'
import { isRecord, optionalMillis, optionalText, recordOf } from '../http/answer-fields.ts'
import type { Answer, Refusal } from '../http/exchange-call.ts'
import type { AdapterContext } from './adapter.ts'
import { type Dialect, DialectClient, SHARED_REFUSALS } from './upbit-dialect.ts'

const LEGACY_OK = '0000'

const BITHUMB: Dialect = {
  exchange: 'BITHUMB',
  // Both are per address: https://apidocs.bithumb.com/docs/api-요청-수-제한-안내.md. No header reports them.
  limits: {
    public: { weight: 150, perMs: SECOND },
    private: { weight: 140, perMs: SECOND, scope: 'address' }
  },
  // Only the ticker of generation 1 returns all markets at once. It has no time per symbol, and a member `date` among
  // the symbols: the time of the list.
  prices: {
    path: '/public/ticker/ALL_KRW',
    fields: { price: 'closing_price' },
    symbolOfKey: base => `KRW-${base}`,
    timeOf: body => optionalMillis(recordOf(recordOf(body, 'the answer').data, 'data'), 'date')
  },
  openOrdersPath: '/v1/orders',
  closedOrders: { path: '/v1/orders', has: 'pages' },
  // Ids are numbers. Those of won and of coins may be the same.
  transfers: [
    { path: '/v1/deposits', kind: 'deposit', idPrefix: 'coin-' },
    { path: '/v1/deposits/krw', kind: 'deposit', idPrefix: 'krw-' },
    { path: '/v1/withdraws', kind: 'withdrawal', idPrefix: 'coin-' },
    { path: '/v1/withdraws/krw', kind: 'withdrawal', idPrefix: 'krw-' }
  ],
  timestamped: true,
  refusals: {
    ...SHARED_REFUSALS,
    invalid_jwt: 'authentication',
    expired_jwt: 'clock',
    NotAllowIP: 'permission'
  },
  hiddenRefusalOf: legacyRefusal
}

/** Bithumb: spot, KRW. */
export class BithumbClient extends DialectClient {
  constructor(context: AdapterContext) {
    super(context, BITHUMB)
  }
}

/** Generation 1 returns 200 always, and its verdict in `status`. Codes that begin with 5 are refusals of all kinds. */
function legacyRefusal({ body }: Answer): Refusal | null {
  const status = isRecord(body) ? optionalText(body, 'status') : null
  return status === null || status === LEGACY_OK ? null : { code: 'unavailable', exchangeCode: status }
}
