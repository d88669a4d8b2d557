import { type PayloadCase, prices } from './payload-case.ts'
import { tokenDialect, tokenRefusal } from './token-dialect.ts'
import { bithumbLedger } from './token-ledger.ts'

export const bithumb: readonly PayloadCase[] = [
  {
    name: 'prices by the keys of their rows, at the date among them',
    ask: prices,
    answers: {
      '/public/ticker/ALL_KRW':
        '{"status":"0000","data":{"BTC":{"opening_price":"94000000","closing_price":"95000000","units_traded":"1"},' +
        '"SHIB":{"closing_price":"1.4E-7"},"NEW":{"closing_price":"0"},"date":"1717000000010"}}'
    },
    expected: [
      { symbol: 'BTCKRW', exchangeSymbol: 'KRW-BTC', price: '95000000', at: 1_717_000_000_010, isListTime: true },
      { symbol: 'SHIBKRW', exchangeSymbol: 'KRW-SHIB', price: '0.00000014', at: 1_717_000_000_010, isListTime: true }
    ]
  },
  {
    name: 'a refusal of generation 1, which comes in an answer of 200',
    ask: prices,
    answers: { '/public/ticker/ALL_KRW': '{"status":"5600","message":"..."}' },
    expected: { refused: 'unavailable', exchangeCode: '5600' }
  },
  ...tokenDialect('/v1/orders'),
  tokenRefusal('invalid_jwt', 401, 'authentication'),
  tokenRefusal('expired_jwt', 401, 'clock'),
  tokenRefusal('NotAllowIP', 401, 'permission'),
  ...bithumbLedger
]
