import { ledger, type PayloadCase } from './payload-case.ts'

const FROM = 1_672_100_000_000
const UNTIL = 1_672_200_000_000
const LOG = `/v5/account/transaction-log?accountType=UNIFIED&limit=50&startTime=${FROM - 1}&endTime=${UNTIL}`

const answer = (list: readonly object[], nextPageCursor = '') =>
  JSON.stringify({
    retCode: 0,
    retMsg: 'OK',
    result: { nextPageCursor, list },
    retExtInfo: {},
    time: 1_672_132_481_405
  })

/** A row with the fields of the documentation. */
const row = (id: string, type: string, change: string, rest: object = {}) => ({
  id,
  symbol: '',
  side: 'None',
  funding: '',
  orderLinkId: '',
  orderId: '',
  fee: '0',
  change,
  cashFlow: change,
  transactionTime: '1672121182224',
  type,
  feeRate: '0',
  bonusChange: '',
  size: '0',
  qty: '0',
  cashBalance: '5086.55825002',
  currency: 'USDT',
  category: '',
  tradePrice: '0',
  tradeId: '',
  extraFees: '',
  transSubType: '',
  ...rest
})

const PERPETUAL = { symbol: 'XRPUSDT', side: 'Buy', category: 'linear', tradePrice: '0.3615', qty: '88', size: '100' }
const TRADE = { orderId: '592b7e41-78fd-42e2-9aa3-91e1835ef3e1', tradeId: '5184f079-88ec-54c7-8774-5173cafd2b4e' }

const entry = (exchangeEntryId: string, kind: string, exchangeKind: string, amount: string, rest: object = {}) => ({
  exchangeEntryId,
  asset: 'USDT',
  amount,
  kind,
  exchangeKind,
  exchangeSymbol: null,
  at: 1_672_121_182_224,
  ...rest
})

/** The rows of the documentation, and rows of its types. */
export const bybitLedger: readonly PayloadCase[] = [
  {
    name: 'a ledger of the log without trades, in two pages',
    ask: ledger(FROM, UNTIL),
    answers: {
      [`${LOG}&cursor=21963%3A1%2C14954%3A1`]: answer([
        row('5', 'TRANSFER_IN', '1000'),
        row('4', 'TRANSFER_OUT', '-0.00000014'),
        row('3', 'INTEREST', '-0.02'),
        row('2', 'TRADE', '-31.8', { ...TRADE, symbol: 'XRPUSDT', category: 'spot' }),
        row('1', 'TRADE', '87.9', { ...TRADE, symbol: 'XRPUSDT', category: 'spot', currency: 'XRP' })
      ]),
      [LOG]: answer(
        [
          row('592324XRPUSDT3', 'SETTLEMENT', '-0.003676', {
            ...PERPETUAL,
            funding: '-0.003676',
            cashFlow: '0',
            orderId: '1672128000-8-592324-1-2',
            tradeId: '534c0003-4bf7-486f-aa02-78cee36825e4'
          }),
          row('592324XRPUSDT2', 'TRADE', '-0.0190872', { ...PERPETUAL, ...TRADE, fee: '0.01908720', cashFlow: '0' })
        ],
        '21963%3A1%2C14954%3A1'
      )
    },
    expected: {
      entries: [
        entry('592324XRPUSDT3', 'funding', 'SETTLEMENT', '-0.003676', { exchangeSymbol: 'XRPUSDT' }),
        entry('5', 'transfer', 'TRANSFER_IN', '1000'),
        entry('4', 'transfer', 'TRANSFER_OUT', '-0.00000014'),
        entry('3', 'interest', 'INTEREST', '-0.02')
      ].reverse(),
      completeUntil: UNTIL
    }
  },
  {
    name: 'a ledger of the log with rows that are a fill and something else',
    ask: ledger(FROM, UNTIL),
    answers: {
      [LOG]: answer([
        // Funding and result of a session of a perpetual in USDC, in one row.
        row('8', 'SETTLEMENT', '4.7', {
          ...PERPETUAL,
          symbol: 'BTCPERP',
          currency: 'USDC',
          funding: '-0.3',
          cashFlow: '5'
        }),
        row('7', 'TRADE', '9.4', { ...PERPETUAL, ...TRADE, cashFlow: '10', funding: '-0.1', fee: '0.5' }),
        row('6', 'LIQUIDATION', '-51', { ...PERPETUAL, ...TRADE, cashFlow: '-50', fee: '1' }),
        row('5', 'LIQUIDATION', '-2', { ...PERPETUAL }),
        row('4', 'TRADE', '-0.01', { ...TRADE, symbol: 'BTCUSD', category: 'inverse', currency: 'BTC' }),
        row('3', 'TRADE', '-7', { ...TRADE, symbol: 'BTC-28FEB25-2800-C', category: 'option' }),
        row('2', 'DELIVERY', '3', { ...TRADE, symbol: 'BTC-24MAR23', category: 'linear' }),
        // What spot margin lends is in the wallet and in the debt: the balance is without it.
        row('1', 'BORROW', '500'),
        row('0', 'REPAY', '-500')
      ])
    },
    expected: {
      entries: [
        entry('8', 'other', 'SETTLEMENT', '5', { asset: 'USDC', exchangeSymbol: 'BTCPERP' }),
        entry('8', 'funding', 'SETTLEMENT', '-0.3', { asset: 'USDC', exchangeSymbol: 'BTCPERP' }),
        entry('7', 'funding', 'TRADE', '-0.1', { exchangeSymbol: 'XRPUSDT' }),
        entry('5', 'liquidation', 'LIQUIDATION', '-2', { exchangeSymbol: 'XRPUSDT' }),
        entry('4', 'other', 'TRADE', '-0.01', { asset: 'BTC', exchangeSymbol: 'BTCUSD' }),
        entry('3', 'other', 'TRADE', '-7', { exchangeSymbol: 'BTC-28FEB25-2800-C' }),
        entry('2', 'other', 'DELIVERY', '3', { exchangeSymbol: 'BTC-24MAR23' })
      ].reverse(),
      completeUntil: UNTIL
    }
  },
  {
    name: 'a ledger of the log with each kind, an unknown type, and rows that cannot be read',
    ask: ledger(FROM, UNTIL),
    answers: {
      [LOG]: answer([
        row('9', 'BONUS', '5'),
        row('8', 'FEE_REFUND', '0.1'),
        row('7', 'CURRENCY_SELL', '-3'),
        row('6', 'LOANS_BORROW_FUNDS', '10'),
        row('5', 'LOANS_REPAY_FUNDS', '-10'),
        row('4', 'CUSTODY_NETWORK_FEE', '-1'),
        row('3', 'FLEXIBLE_STAKING_SUBSCRIPTION', '-20'),
        row('2', 'NEW_PRODUCT', '1'),
        row('1', 'TRANSFER_IN', '', { transactionTime: '1672150000000' }),
        row('0', 'AIRDROP', '0', { cashFlow: '0' })
      ])
    },
    expected: {
      entries: [
        entry('9', 'dividend', 'BONUS', '5'),
        entry('8', 'rebate', 'FEE_REFUND', '0.1'),
        entry('7', 'conversion', 'CURRENCY_SELL', '-3'),
        entry('6', 'borrow', 'LOANS_BORROW_FUNDS', '10'),
        entry('5', 'repay', 'LOANS_REPAY_FUNDS', '-10'),
        entry('4', 'commission', 'CUSTODY_NETWORK_FEE', '-1'),
        entry('3', 'transfer', 'FLEXIBLE_STAKING_SUBSCRIPTION', '-20'),
        entry('2', 'other', 'NEW_PRODUCT', '1')
      ].reverse(),
      completeUntil: 1_672_150_000_000
    }
  }
]
