import { type PayloadCase, prices } from './payload-case.ts'
import { tokenDialect, tokenRefusal } from './token-dialect.ts'
import { upbitLedger } from './token-ledger.ts'

export const upbit: readonly PayloadCase[] = [
  {
    name: 'prices with the time of their tick, without a market that has not traded',
    ask: prices,
    answers: {
      '/v1/ticker/all?quote_currencies=KRW':
        '[{"market":"KRW-BTC","trade_price":95000000.0,"trade_timestamp":1717000000000,"timestamp":1717000000010},' +
        '{"market":"KRW-SHIB","trade_price":1.4E-7,"timestamp":1717000000011},' +
        '{"market":"KRW-NEW","trade_price":0,"timestamp":1717000000012}]'
    },
    expected: [
      { symbol: 'BTCKRW', exchangeSymbol: 'KRW-BTC', price: '95000000.0', at: 1_717_000_000_010 },
      { symbol: 'SHIBKRW', exchangeSymbol: 'KRW-SHIB', price: '0.00000014', at: 1_717_000_000_011 }
    ]
  },
  ...tokenDialect('/v1/orders/open'),
  tokenRefusal('no_authorization_i_p', 401, 'permission'),
  tokenRefusal('notfoundmarket', 404, 'bad_symbol'),
  ...upbitLedger
]
