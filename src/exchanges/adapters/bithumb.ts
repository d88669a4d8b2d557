// @FEAT:exchanges @COMP:service @TYPE:integration

import { SECOND } from '../../async/durations.ts'
import { isRecord, optionalText } from '../http/answer-fields.ts'
import type { Answer, Refusal } from '../http/exchange-gateway.ts'
import { RowReader } from '../http/row-reader.ts'
import type { AdapterContext } from './adapter.ts'
import { type Dialect, DialectClient, SHARED_REFUSALS } from './upbit-dialect.ts'

const LEGACY_OK = '0000'

const BITHUMB: Dialect = {
  exchange: 'BITHUMB',
  limits: { public: { weight: 150, perMs: SECOND }, private: { weight: 140, perMs: SECOND } },
  // The ticker of generation 1 is the only one that answers for all markets at once. It tells no time per symbol, and
  // a date stands among its symbols.
  prices: {
    path: '/public/ticker/ALL_KRW',
    query: '',
    reader: onPrice =>
      new RowReader(['closing_price'], ([price], base) => onPrice(`KRW-${base}`, price, null), { keyed: true })
  },
  openOrdersPath: '/v1/orders',
  timestamped: true,
  refusals: {
    ...SHARED_REFUSALS,
    invalid_jwt: 'authentication',
    expired_jwt: 'authentication',
    NotAllowIP: 'permission'
  },
  clockRefusal: 'expired_jwt',
  hiddenRefusalOf: legacyRefusal
}

/** Bithumb: spot, KRW. */
export class BithumbClient extends DialectClient {
  constructor(context: AdapterContext) {
    super(context, BITHUMB)
  }
}

/** Generation 1 answers 200 to everything and puts its verdict into `status`; `5…` are refusals of all kinds. */
function legacyRefusal({ body }: Answer): Refusal | null {
  const status = isRecord(body) ? optionalText(body, 'status') : null
  return status === null || status === LEGACY_OK ? null : { code: 'unavailable', exchangeCode: status }
}
