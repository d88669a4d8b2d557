import { ledger, type PayloadCase } from './payload-case.ts'

const answer = (...data: object[]) => JSON.stringify({ code: '0', msg: '', data })

const FROM = 1_695_000_000_000
const UNTIL = 1_695_100_000_000
const ARCHIVE = `/api/v5/account/bills-archive?begin=${FROM - 1}&end=${UNTIL}&limit=100`

/** A bill with the fields of the documentation; without a trade most are empty. */
const bill = (billId: string, type: string, subType: string, balChg: string, rest: object = {}) => ({
  bal: '8694.2179403378290202',
  balChg,
  billId,
  ccy: 'USDT',
  clOrdId: '',
  earnAmt: '',
  earnApr: '',
  execType: '',
  fee: '0',
  fillFwdPx: '',
  fillIdxPx: '',
  fillMarkPx: '',
  fillMarkVol: '',
  fillPxUsd: '',
  fillPxVol: '',
  fillTime: '',
  from: '',
  instId: '',
  instType: '',
  interest: '0',
  mgnMode: '',
  notes: '',
  ordId: '',
  pnl: '0',
  posBal: '0',
  posBalChg: '0',
  px: '',
  subType,
  sz: '0',
  tag: '',
  to: '',
  tradeId: '',
  ts: '1695033476167',
  type,
  ...rest
})

const SWAP = { instId: 'BTC-USDT-SWAP', instType: 'SWAP', mgnMode: 'cross' }
const FILL = { ordId: '623950854525124608', tradeId: '586760148', execType: 'T', fillTime: '1695033476166' }

const entry = (exchangeEntryId: string, kind: string, exchangeKind: string, amount: string, rest: object = {}) => ({
  exchangeEntryId,
  asset: 'USDT',
  amount,
  kind,
  exchangeKind,
  exchangeSymbol: null,
  at: 1_695_033_476_167,
  ...rest
})
const swap = { exchangeSymbol: 'BTC-USDT-SWAP' }

/** The rows of the documentation, and rows of its types. */
export const okxLedger: readonly PayloadCase[] = [
  {
    name: 'a ledger of bills without the trades of spot and swaps',
    ask: ledger(FROM, UNTIL),
    answers: {
      [ARCHIVE]: answer(
        bill('623950854533513219', '2', '1', '0.0219338232210000', {
          ...FILL,
          ccy: 'BTC',
          fee: '-0.000021955779',
          fillIdxPx: '27104.1',
          instId: 'BTC-USDT',
          instType: 'SPOT',
          mgnMode: 'isolated',
          px: '27105.9',
          sz: '0.021955779'
        }),
        bill('623950854533513218', '2', '5', '11.5', { ...SWAP, ...FILL, pnl: '12', fee: '-0.5', fillMarkPx: '27100' }),
        bill('623950854533513217', '1', '11', '1000', { from: '6', to: '18', sz: '1000' }),
        bill('623950854533513216', '1', '12', '-0.00000001', { from: '18', to: '6' }),
        bill('623950854533513215', '8', '173', '-1.25', { ...SWAP, pnl: '-1.25', px: '27105.9', sz: '3' }),
        bill('623950854533513214', '8', '174', '0', { ...SWAP, mgnMode: 'isolated', posBalChg: '0.5', pnl: '0.5' }),
        bill('623950854533513213', '6', '160', '-20', { ...SWAP, mgnMode: 'isolated', posBalChg: '20' }),
        bill('623950854533513212', '7', '9', '-0.003', { ccy: 'BTC', interest: '-0.003' }),
        bill('623950854533513211', '27', '319', '-50'),
        bill('623950854533513210', '30', '320', '0.002', { ccy: 'BTC' })
      )
    },
    expected: {
      entries: [
        entry('623950854533513217', 'transfer', '1/11', '1000'),
        entry('623950854533513216', 'transfer', '1/12', '-0.00000001'),
        entry('623950854533513215', 'funding', '8/173', '-1.25', swap),
        entry('623950854533513214', 'funding', '8/174', '0.5', swap),
        entry('623950854533513212', 'interest', '7/9', '-0.003', { asset: 'BTC' }),
        entry('623950854533513211', 'conversion', '27/319', '-50'),
        entry('623950854533513210', 'conversion', '30/320', '0.002', { asset: 'BTC' })
      ].reverse(),
      completeUntil: UNTIL
    }
  },
  {
    name: 'a ledger of bills with what a liquidation takes in addition to its fill',
    ask: ledger(FROM, UNTIL),
    answers: {
      [ARCHIVE]: answer(
        // The fills have these: a liquidation, an ADL, a partial liquidation with a penalty of 3.
        bill('9', '5', '104', '-51', { ...SWAP, ...FILL, tradeId: '-12', pnl: '-50', fee: '-1' }),
        bill('8', '9', '125', '7', { ...SWAP, ...FILL, tradeId: '-13', pnl: '7', fee: '0' }),
        bill('7', '5', '100', '-24', { ...SWAP, ...FILL, tradeId: '-14', pnl: '-20', fee: '-1' }),
        // The fills do not have these: of another instrument, of a block trade, without an order.
        bill('6', '5', '105', '-9', { ...FILL, instId: 'BTC-USD-SWAP', instType: 'SWAP', ccy: 'BTC' }),
        bill('5', '14', '206', '-0.7', { ...SWAP, tradeId: '99', fee: '-0.7' }),
        bill('4', '3', '112', '3', { ...SWAP, pnl: '3' }),
        bill('3', '2', '1', '-4', { ...FILL, instId: 'BTC-USDT', instType: 'MARGIN' }),
        bill('2', '10', '108', '-0.1')
      )
    },
    expected: {
      entries: [
        entry('7', 'liquidation', '5/100', '-3', swap),
        entry('6', 'liquidation', '5/105', '-9', { asset: 'BTC', exchangeSymbol: 'BTC-USD-SWAP' }),
        entry('5', 'other', '14/206', '-0.7', swap),
        entry('4', 'other', '3/112', '3', swap),
        entry('3', 'other', '2/1', '-4', { exchangeSymbol: 'BTC-USDT' }),
        entry('2', 'liquidation', '10/108', '-0.1')
      ].reverse(),
      completeUntil: UNTIL
    }
  },
  {
    name: 'a ledger of bills with an unknown type, and without those that cannot be read',
    ask: ledger(FROM, UNTIL),
    answers: {
      [ARCHIVE]: answer(
        bill('5', '999', '', '1.5'),
        bill('4', '1', '11', 'NaN', { ts: '1695040000000' }),
        bill('3', '381', '381', '0.00000014', { earnAmt: '0.00000014', earnApr: '0.01' })
      )
    },
    expected: {
      entries: [entry('3', 'interest', '381/381', '0.00000014'), entry('5', 'other', '999', '1.5')],
      completeUntil: 1_695_040_000_000
    }
  }
]
