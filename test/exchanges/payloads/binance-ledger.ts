import { ledger, type PayloadCase } from './payload-case.ts'

const FROM = 1_699_000_000_000
const UNTIL = 1_699_300_000_000
const AT = 1_699_100_000_000

const income = (rows: readonly object[]) => ({
  [`/fapi/v1/income?startTime=${FROM}&endTime=${UNTIL - 1}&limit=1000&page=1`]: JSON.stringify(rows)
})

const incomeRow = (incomeType: string, amount: string, rest: object = {}) => ({
  symbol: '',
  incomeType,
  income: amount,
  asset: 'USDT',
  info: incomeType,
  time: AT,
  tranId: 9689322392,
  tradeId: '',
  ...rest
})

const incomeEntry = (kind: string, exchangeKind: string, amount: string, rest: object = {}) => ({
  exchangeEntryId: `${exchangeKind}:9689322392:USDT`,
  asset: 'USDT',
  amount,
  kind,
  exchangeKind,
  exchangeSymbol: null,
  at: AT,
  ...rest
})

/** Types of income with the kind that they have. */
const INCOME = [
  ['TRANSFER', 'transfer'],
  ['INTERNAL_TRANSFER', 'transfer'],
  ['CROSS_COLLATERAL_TRANSFER', 'transfer'],
  ['STRATEGY_UMFUTURES_TRANSFER', 'transfer'],
  ['FUNDING_FEE', 'funding'],
  ['INSURANCE_CLEAR', 'liquidation'],
  ['REFERRAL_KICKBACK', 'rebate'],
  ['COMMISSION_REBATE', 'rebate'],
  ['API_REBATE', 'rebate'],
  ['FEE_RETURN', 'rebate'],
  ['POSITION_LIMIT_INCREASE_FEE', 'commission'],
  ['WELCOME_BONUS', 'dividend'],
  ['CONTEST_REWARD', 'dividend'],
  ['BFUSD_REWARD', 'interest'],
  ['AUTO_EXCHANGE', 'conversion'],
  ['COIN_SWAP_DEPOSIT', 'conversion'],
  ['COIN_SWAP_WITHDRAW', 'conversion'],
  ['DELIVERED_SETTELMENT', 'other'],
  ['OPTIONS_PREMIUM_FEE', 'other'],
  ['A_NEW_TYPE', 'other']
] as const

const TRANSFER_TYPES = ['UMFUTURE', 'CMFUTURE', 'MARGIN', 'ISOLATED_MARGIN', 'FUNDING', 'OPTION', 'PORTFOLIO_MARGIN']
const WINDOW = `startTime=${FROM}&endTime=${UNTIL - 1}`
/** Deposits of the three days before may have been credited in the range. */
const DEPOSITS = `/sapi/v1/capital/deposit/hisrec?startTime=${FROM - 3 * 86_400_000}&endTime=${UNTIL - 1}&limit=1000&offset=0`
const WITHDRAWALS = `/sapi/v1/capital/withdraw/history?${WINDOW}&limit=1000&offset=0`
const transfers = (type: string) => `/sapi/v1/asset/transfer?type=${type}&${WINDOW}&size=100&current=1`
const DIVIDENDS = `/sapi/v1/asset/assetDividend?${WINDOW}&limit=500`
const DUST = `/sapi/v1/asset/dribblet?${WINDOW}`
const CONVERTS = `/sapi/v1/convert/tradeFlow?${WINDOW}&limit=1000`

/** The answers of all lists of spot: those that are given, and empty ones. */
const spot = (given: Readonly<Record<string, unknown>>): Record<string, string> => {
  const empty = {
    [DEPOSITS]: [],
    [WITHDRAWALS]: [],
    ...Object.fromEntries(
      TRANSFER_TYPES.flatMap(name => [transfers(`MAIN_${name}`), transfers(`${name}_MAIN`)]).map(path => [
        path,
        { total: 0 }
      ])
    ),
    [DIVIDENDS]: { rows: [], total: 0 },
    [DUST]: { total: 0, userAssetDribblets: [] },
    [CONVERTS]: { list: [], startTime: FROM, endTime: UNTIL, limit: 1000, moreData: false }
  }
  return Object.fromEntries(Object.entries({ ...empty, ...given }).map(([path, body]) => [path, JSON.stringify(body)]))
}

const deposit = (id: string, status: number, rest: object = {}) => ({
  id,
  amount: '0.00999800',
  coin: 'PAXG',
  network: 'ETH',
  status,
  address: '0x788cabe9236ce061e5a892e1a59395a81fc8d62c',
  addressTag: '',
  txId: '0xaad4654a3234aa6118af9b4b335f5ae81c360b2394721c019b5d1e75328b09f3',
  insertTime: AT,
  transferType: 0,
  confirmTimes: '12/12',
  unlockConfirm: 12,
  walletType: 0,
  ...rest
})

const withdrawal = (id: string, status: number, rest: object = {}) => ({
  id,
  amount: '8.91000000',
  transactionFee: '0.004',
  coin: 'USDT',
  status,
  address: '0x94df8b352de7f46f64b01d3666bf6e936e44ce60',
  txId: '0xb5ef8c13b968a406cc62a93a8bd80f9e9a906ef1b3fcf20a2e48573c17659268',
  applyTime: '2023-11-04 11:12:02',
  network: 'ETH',
  transferType: 0,
  withdrawOrderId: 'WITHDRAWtest123',
  info: '',
  confirmNo: 3,
  walletType: 0,
  txKey: '',
  ...rest
})

const entry = (exchangeEntryId: string, fields: Readonly<Record<string, unknown>>) => ({
  exchangeEntryId,
  exchangeSymbol: null,
  at: AT,
  ...fields
})
const deposited = { asset: 'PAXG', amount: '0.00999800', kind: 'deposit', exchangeKind: 'deposit' }
const APPLIED_AT = Date.UTC(2023, 10, 4, 11, 12, 2)
const withdrawn = {
  asset: 'USDT',
  amount: '-8.914',
  kind: 'withdrawal',
  exchangeKind: 'withdraw',
  at: APPLIED_AT
}
const complete = { completeUntil: UNTIL, gaps: [] }

/** The lists of the documentation, with rows in every state. */
export const binanceLedger: readonly PayloadCase[] = [
  ...INCOME.map(
    ([type, kind]): PayloadCase => ({
      name: `income of the type ${type}`,
      market: 'FUTURES',
      ask: ledger(FROM, UNTIL),
      answers: income([incomeRow(type, '-0.37500000')]),
      expected: { entries: [incomeEntry(kind, type, '-0.37500000')], ...complete }
    })
  ),
  {
    name: 'a ledger of income without the results and commissions of fills that are read',
    market: 'FUTURES',
    ask: ledger(FROM, UNTIL),
    answers: income([
      incomeRow('COMMISSION', '-0.01000000', { symbol: 'BTCUSDT', info: '2059192', tradeId: '2059192' }),
      incomeRow('REALIZED_PNL', '5', { symbol: 'BTCUSDT', info: '2059192', tradeId: '2059192' }),
      incomeRow('REALIZED_PNL', '7', { symbol: 'BTCUSDT_261225', tradeId: '5' }),
      incomeRow('COMMISSION', '-3'),
      incomeRow('FUNDING_FEE', '1E-7', { symbol: 'ETHUSDT' }),
      incomeRow('FUNDING_FEE', '0.00000000', { symbol: 'XRPUSDT', tranId: 1 })
    ]),
    expected: {
      entries: [
        incomeEntry('other', 'REALIZED_PNL', '7', {
          exchangeEntryId: 'REALIZED_PNL:9689322392:USDT:5',
          exchangeSymbol: 'BTCUSDT_261225'
        }),
        incomeEntry('commission', 'COMMISSION', '-3'),
        incomeEntry('funding', 'FUNDING_FEE', '0.0000001', { exchangeSymbol: 'ETHUSDT' })
      ],
      ...complete
    }
  },
  {
    name: 'deposits that are credited, and the ledger as complete until the first pending one',
    ask: ledger(FROM, UNTIL),
    answers: spot({
      [DEPOSITS]: [
        deposit('769800519366885376', 1),
        deposit('6', 6, { completeTime: AT + 5_000 }),
        deposit('0', 0, { insertTime: AT + 60_000 }),
        deposit('8', 8, { insertTime: AT + 50_000 }),
        deposit('7', 7, { insertTime: AT + 1 }),
        deposit('of the funding wallet', 1, { walletType: 1 })
      ]
    }),
    expected: {
      entries: [entry('769800519366885376', deposited), entry('6', { ...deposited, at: AT + 5_000 })],
      completeUntil: AT + 50_000,
      gaps: []
    }
  },
  {
    name: 'withdrawals with their fees, what comes back of those that fail, and the ledger as complete until one is under way',
    ask: ledger(FROM, UNTIL),
    answers: spot({
      [WITHDRAWALS]: [
        withdrawal('b6ae22b3aa844210a7041aee7589627c', 6, { completeTime: '2023-11-04 11:20:00' }),
        withdrawal('under-way', 4),
        withdrawal('rejected', 3),
        withdrawal('of the funding wallet', 6, { walletType: 1 })
      ]
    }),
    expected: {
      entries: [
        entry('b6ae22b3aa844210a7041aee7589627c', withdrawn),
        entry('under-way', withdrawn),
        entry('rejected', withdrawn),
        entry('rejected:returned', { ...withdrawn, amount: '8.914' })
      ],
      completeUntil: APPLIED_AT,
      gaps: []
    }
  },
  {
    name: 'transfers in both directions',
    ask: ledger(FROM, UNTIL),
    answers: spot({
      [transfers('MAIN_UMFUTURE')]: {
        total: 3,
        rows: [
          {
            asset: 'USDT',
            amount: '1',
            type: 'MAIN_UMFUTURE',
            status: 'CONFIRMED',
            tranId: 11415955596,
            timestamp: AT
          },
          { asset: 'USDT', amount: '3', type: 'MAIN_UMFUTURE', status: 'FAILED', tranId: 3, timestamp: AT },
          { asset: 'USDT', amount: '4', type: 'MAIN_UMFUTURE', status: 'PENDING', tranId: 4, timestamp: AT + 9 }
        ]
      },
      [transfers('FUNDING_MAIN')]: {
        total: 1,
        rows: [{ asset: 'BTC', amount: '2', type: 'FUNDING_MAIN', status: 'CONFIRMED', tranId: 2, timestamp: AT }]
      }
    }),
    expected: {
      entries: [
        entry('11415955596', { asset: 'USDT', amount: '-1', kind: 'transfer', exchangeKind: 'MAIN_UMFUTURE' }),
        entry('2', { asset: 'BTC', amount: '2', kind: 'transfer', exchangeKind: 'FUNDING_MAIN' })
      ],
      completeUntil: AT + 9,
      gaps: []
    }
  },
  {
    name: 'distributions, dust and conversions',
    ask: ledger(FROM, UNTIL),
    answers: spot({
      [DIVIDENDS]: {
        rows: [
          {
            id: 1637366104,
            amount: '10.00000000',
            asset: 'BHFT',
            divTime: AT,
            enInfo: 'BHFT distribution',
            tranId: 2968885920,
            direction: 1
          },
          { id: 2, amount: '1', asset: 'BHFT', divTime: AT, enInfo: 'correction', tranId: 3, direction: -1 }
        ],
        total: 2
      },
      [DUST]: {
        total: 1,
        userAssetDribblets: [
          {
            operateTime: AT,
            totalTransferedAmount: '0.00132256',
            totalServiceChargeAmount: '0.00002699',
            transId: 45178372831,
            userAssetDribbletDetails: [
              {
                transId: 4359321,
                serviceChargeAmount: '0.000009',
                amount: '0.0009',
                operateTime: AT,
                transferedAmount: '0.000441',
                fromAsset: 'USDT'
              },
              {
                transId: 4359321,
                serviceChargeAmount: '0.00001799',
                amount: '0.0009',
                operateTime: AT,
                transferedAmount: '0.00088156',
                fromAsset: 'ETH'
              }
            ]
          }
        ]
      },
      [CONVERTS]: {
        list: [
          {
            quoteId: 'f3b91c525b2644c7bc1e1cd31b6e1aa6',
            orderId: 940708407462087195n.toString(),
            orderStatus: 'SUCCESS',
            fromAsset: 'USDT',
            fromAmount: '20',
            toAsset: 'BNB',
            toAmount: '0.06154036',
            ratio: '0.00307702',
            inverseRatio: '324.99',
            createTime: AT
          },
          {
            quoteId: 'a',
            orderId: 2,
            orderStatus: 'FAIL',
            fromAsset: 'USDT',
            fromAmount: '1',
            toAsset: 'BNB',
            toAmount: '1',
            createTime: AT
          }
        ],
        startTime: FROM,
        endTime: UNTIL,
        limit: 1000,
        moreData: false
      }
    }),
    expected: {
      entries: [
        entry('1637366104', {
          asset: 'BHFT',
          amount: '10.00000000',
          kind: 'dividend',
          exchangeKind: 'BHFT distribution'
        }),
        entry('2', { asset: 'BHFT', amount: '-1', kind: 'dividend', exchangeKind: 'correction' }),
        entry('45178372831:USDT', { asset: 'USDT', amount: '-0.0009', kind: 'conversion', exchangeKind: 'dribblet' }),
        entry('45178372831:USDT:BNB', {
          asset: 'BNB',
          amount: '0.000441',
          kind: 'conversion',
          exchangeKind: 'dribblet'
        }),
        entry('45178372831:ETH', { asset: 'ETH', amount: '-0.0009', kind: 'conversion', exchangeKind: 'dribblet' }),
        entry('45178372831:ETH:BNB', {
          asset: 'BNB',
          amount: '0.00088156',
          kind: 'conversion',
          exchangeKind: 'dribblet'
        }),
        entry('940708407462087195:from', { asset: 'USDT', amount: '-20', kind: 'conversion', exchangeKind: 'convert' }),
        entry('940708407462087195:to', {
          asset: 'BNB',
          amount: '0.06154036',
          kind: 'conversion',
          exchangeKind: 'convert'
        })
      ],
      ...complete
    }
  }
]
