import { ledger, type PayloadCase, refusal } from './payload-case.ts'

/** 2024-07-01 00:00 and 2024-08-01 00:00 in Seoul. */
const FROM = Date.UTC(2024, 5, 30, 15)
const UNTIL = Date.UTC(2024, 6, 31, 15)
const PAGE = 'page=1&limit=100&order_by=desc'
const NONE = '[]'

const transfer = (type: string, uuid: string, state: string, amount: string, rest: object = {}) => ({
  type,
  uuid,
  currency: 'BTC',
  net_type: 'BTC',
  txid: 'e3a0f8b0',
  state,
  created_at: '2024-07-09T16:31:08+09:00',
  done_at: '2024-07-09T16:35:09+09:00',
  amount,
  fee: '0',
  transaction_type: 'default',
  ...rest
})

const entry = (exchangeEntryId: string, kind: string, exchangeKind: string, amount: string, rest: object = {}) => ({
  exchangeEntryId,
  asset: 'BTC',
  amount,
  kind,
  exchangeKind,
  exchangeSymbol: null,
  at: Date.UTC(2024, 6, 9, 7, 35, 9),
  ...rest
})

export const upbitLedger: readonly PayloadCase[] = [
  {
    name: 'a ledger of deposits and withdrawals of won and coins, at their completion, with fees',
    ask: ledger(FROM, UNTIL),
    answers: {
      [`/v1/deposits?${PAGE}`]: JSON.stringify([
        transfer('deposit', 'd-3', 'ACCEPTED', '1000000.0', { currency: 'KRW', net_type: null, txid: 'BKD-2024' }),
        transfer('deposit', 'd-2', 'REJECTED', '1'),
        transfer('deposit', 'd-1', 'ACCEPTED', '0.00000014', { transaction_type: 'internal', done_at: null })
      ]),
      [`/v1/withdraws?${PAGE}`]: JSON.stringify([
        transfer('withdraw', 'w-2', 'DONE', '0.01', { fee: '0.0005' }),
        transfer('withdraw', 'w-1', 'CANCELLED', '0.5', { done_at: null })
      ])
    },
    expected: {
      entries: [
        entry('d-1', 'deposit', 'deposit/internal', '0.00000014', { at: Date.UTC(2024, 6, 9, 7, 31, 8) }),
        entry('d-3', 'deposit', 'deposit/default', '1000000.0', { asset: 'KRW' }),
        entry('w-2', 'withdrawal', 'withdrawal/default', '-0.01'),
        entry('w-2', 'commission', 'withdrawal/fee', '-0.0005')
      ],
      completeUntil: UNTIL
    }
  },
  {
    name: 'a ledger with transfers that are pending, which count from their completion on',
    ask: ledger(FROM, UNTIL),
    answers: {
      [`/v1/deposits?${PAGE}`]: JSON.stringify([
        transfer('deposit', 'd-3', 'PROCESSING', '1', { created_at: '2024-07-20T00:00:00+09:00', done_at: null }),
        transfer('deposit', 'd-2', 'TRAVEL_RULE_SUSPECTED', '1', { created_at: '2024-07-15T00:00:00+09:00' }),
        transfer('deposit', 'd-1', 'ACCEPTED', '1')
      ]),
      [`/v1/withdraws?${PAGE}`]: JSON.stringify([
        transfer('withdraw', 'w-1', 'WAITING', '1', { created_at: '2024-07-18T00:00:00+09:00', done_at: null })
      ])
    },
    expected: {
      entries: [entry('d-1', 'deposit', 'deposit/default', '1')],
      completeUntil: Date.UTC(2024, 6, 14, 15)
    }
  },
  {
    name: 'a ledger without the list that the key may not read',
    ask: ledger(FROM, UNTIL),
    answers: {
      [`/v1/deposits?${PAGE}`]: refusal(401, '{"error":{"name":"out_of_scope","message":"권한이 부족합니다."}}'),
      [`/v1/withdraws?${PAGE}`]: NONE
    },
    expected: { entries: [], completeUntil: UNTIL, gaps: ['permission'] }
  },
  {
    name: 'a ledger of a key that is refused at all',
    ask: ledger(FROM, UNTIL),
    answers: {
      [`/v1/deposits?${PAGE}`]: refusal(401, '{"error":{"name":"invalid_access_key","message":"잘못된 키입니다."}}'),
      [`/v1/withdraws?${PAGE}`]: NONE
    },
    expected: { refused: 'authentication', exchangeCode: 'invalid_access_key' }
  }
]

export const bithumbLedger: readonly PayloadCase[] = [
  {
    name: 'a ledger of the separate lists of won and coins, whose ids may be the same',
    ask: ledger(FROM, UNTIL),
    answers: {
      [`/v1/deposits?${PAGE}`]:
        '[{"type":"deposit","uuid":"202620152","currency":"SHIB","net_type":null,"txid":"20240709163030.72335",' +
        '"state":"DEPOSIT_ACCEPTED","created_at":"2024-07-09T16:31:08+09:00","done_at":"2024-07-09T16:31:08+09:00",' +
        '"amount":1.4E-7,"fee":0,"transaction_type":null},' +
        '{"type":"deposit","uuid":"202611907","currency":"SANTOS","net_type":null,"txid":"20240701005602.90593",' +
        '"state":"REFUNDED_ACCEPTED","created_at":"2024-07-01T00:56:23+09:00","done_at":"2024-07-01T00:56:23+09:00",' +
        '"amount":"1000000","fee":"0","transaction_type":null}]',
      [`/v1/deposits/krw?${PAGE}`]:
        '[{"type":"deposit","uuid":"202620152","currency":"KRW","txid":"1596126","state":"ACCEPTED",' +
        '"created_at":"2024-07-06T15:14:37+09:00","done_at":"2024-07-08T15:19:40+09:00","amount":"20000","fee":"0",' +
        '"transaction_type":"default"}]',
      [`/v1/withdraws?${PAGE}`]:
        '[{"type":"withdraw","uuid":"200359853","currency":"MTL","net_type":"MTL_ETH","txid":"0x28d3","state":"DONE",' +
        '"created_at":"2024-07-10T15:13:10+09:00","done_at":"2024-07-10T15:17:17+09:00","amount":"0.6113","fee":"0.1",' +
        '"transaction_type":null}]',
      [`/v1/withdraws/krw?${PAGE}`]:
        '[{"type":"withdraw","uuid":"12703781","currency":"KRW","net_type":null,"txid":"1596146","state":"PROCESSING",' +
        '"created_at":"2024-07-20T17:36:22+09:00","done_at":null,"amount":"6000","fee":"1000",' +
        '"transaction_type":"default"}]'
    },
    expected: {
      entries: [
        entry('krw-202620152', 'deposit', 'deposit/default', '20000', {
          asset: 'KRW',
          at: Date.UTC(2024, 6, 8, 6, 19, 40)
        }),
        entry('coin-202620152', 'deposit', 'deposit/default', '0.00000014', {
          asset: 'SHIB',
          at: Date.UTC(2024, 6, 9, 7, 31, 8)
        }),
        entry('coin-200359853', 'withdrawal', 'withdrawal/default', '-0.6113', {
          asset: 'MTL',
          at: Date.UTC(2024, 6, 10, 6, 17, 17)
        }),
        entry('coin-200359853', 'commission', 'withdrawal/fee', '-0.1', {
          asset: 'MTL',
          at: Date.UTC(2024, 6, 10, 6, 17, 17)
        })
      ],
      completeUntil: Date.UTC(2024, 6, 20, 8, 36, 22)
    }
  },
  {
    name: 'a ledger with an unknown state and a negative amount, which are left out',
    ask: ledger(FROM, UNTIL),
    answers: {
      [`/v1/deposits?${PAGE}`]: JSON.stringify([
        transfer('deposit', '3', 'DEPOSIT_LOST', '1', { created_at: '2024-07-12T00:00:00+09:00' }),
        transfer('deposit', '2', 'DEPOSIT_ACCEPTED', '-1', { created_at: '2024-07-11T00:00:00+09:00' }),
        transfer('deposit', '1', 'DEPOSIT_ACCEPTED', '1')
      ]),
      [`/v1/deposits/krw?${PAGE}`]: NONE,
      [`/v1/withdraws?${PAGE}`]: NONE,
      [`/v1/withdraws/krw?${PAGE}`]: NONE
    },
    expected: {
      entries: [entry('coin-1', 'deposit', 'deposit/default', '1')],
      completeUntil: Date.UTC(2024, 6, 10, 15)
    }
  }
]
