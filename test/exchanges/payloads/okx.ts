import { okxLedger } from './okx-ledger.ts'
import {
  balances,
  fills,
  instruments,
  marks,
  openOrders,
  order,
  type PayloadCase,
  positions,
  prices,
  refusal
} from './payload-case.ts'

const answer = (...data: object[]) => JSON.stringify({ code: '0', msg: '', data })

/** One contract is 0.1 ETH: 0.01 by its multiplier of 10. */
const INSTRUMENTS = answer(
  { instType: 'SWAP', instId: 'ETH-USDT-SWAP', ctType: 'linear', ctVal: '0.01', ctMult: '10' },
  { instType: 'SWAP', instId: 'ETH-USD-SWAP', ctType: 'inverse', ctVal: '10', ctMult: '1' }
)

const ORDER = {
  instType: 'SPOT',
  instId: 'ETH-USDT',
  ordId: '3001',
  clOrdId: 'mine3001',
  px: '2000.5',
  sz: '3',
  ordType: 'limit',
  side: 'sell',
  posSide: 'net',
  tgtCcy: '',
  accFillSz: '0',
  avgPx: '',
  state: 'live',
  fee: '0',
  feeCcy: 'USDT',
  cTime: '1717000000001',
  uTime: '1717000000002'
}

const READ_ORDER = {
  exchangeOrderId: '3001',
  clientOrderId: 'mine3001',
  symbol: 'ETHUSDT',
  exchangeSymbol: 'ETH-USDT',
  side: 'SELL',
  positionSide: 'BOTH',
  orderType: 'LIMIT',
  price: '2000.5',
  stopPrice: null,
  quantity: '3',
  filledQuantity: '0',
  averagePrice: null,
  status: 'open',
  createdAt: 1_717_000_000_001,
  updatedAt: 1_717_000_000_002
}

const SWAP_ORDER = { ...ORDER, instType: 'SWAP', instId: 'ETH-USDT-SWAP', posSide: 'long' }
const READ_SWAP_ORDER = { ...READ_ORDER, exchangeSymbol: 'ETH-USDT-SWAP', positionSide: 'LONG', quantity: '0.3' }

const ALGO = {
  instType: 'SWAP',
  instId: 'ETH-USDT-SWAP',
  algoId: '4001',
  algoClOrdId: 'stop4001',
  ordId: '0',
  ordIdList: [],
  ordType: 'conditional',
  side: 'buy',
  posSide: 'short',
  sz: '5',
  state: 'live',
  triggerPx: '',
  slTriggerPx: '2100',
  slOrdPx: '-1',
  tpTriggerPx: '',
  tpOrdPx: '',
  cTime: '1717000000003',
  uTime: '1717000000004'
}

const READ_ALGO = {
  exchangeOrderId: '4001',
  clientOrderId: 'stop4001',
  symbol: 'ETHUSDT',
  exchangeSymbol: 'ETH-USDT-SWAP',
  side: 'BUY',
  positionSide: 'SHORT',
  orderType: 'CONDITIONAL',
  price: null,
  stopPrice: '2100',
  quantity: '0.5',
  filledQuantity: '0',
  averagePrice: null,
  status: 'open',
  createdAt: 1_717_000_000_003,
  updatedAt: 1_717_000_000_004
}

const FILL = {
  instType: 'SPOT',
  instId: 'ETH-USDT',
  tradeId: '5001',
  ordId: '3001',
  billId: '6001',
  fillPx: '2001',
  fillSz: '1.25',
  side: 'buy',
  posSide: 'net',
  execType: 'T',
  fee: '-0.00125',
  feeCcy: 'ETH',
  fillPnl: '0',
  ts: '1717000000021',
  fillTime: '1717000000020'
}

const READ_FILL = {
  exchangeTradeId: '5001',
  exchangeOrderId: '3001',
  symbol: 'ETHUSDT',
  exchangeSymbol: 'ETH-USDT',
  side: 'BUY',
  positionSide: 'BOTH',
  price: '2001',
  quantity: '1.25',
  fee: '0.00125',
  feeAsset: 'ETH',
  realizedPnl: null,
  executedAt: 1_717_000_000_020
}

const STATES = {
  live: 'open',
  partially_filled: 'partially_filled',
  filled: 'filled',
  canceled: 'canceled',
  mmp_canceled: 'canceled'
}
const ALGO_STATES = {
  live: 'open',
  effective: 'open',
  pause: 'open',
  partially_effective: 'open',
  canceled: 'canceled',
  order_failed: 'rejected'
}
const REFUSALS = [
  ['50001', 'unavailable'],
  ['50004', 'timeout'],
  ['50011', 'rate_limited'],
  ['50013', 'unavailable'],
  ['50026', 'unavailable'],
  ['50040', 'rate_limited'],
  ['50061', 'rate_limited'],
  ['50100', 'authentication'],
  ['50101', 'authentication'],
  ['50102', 'clock'],
  ['50103', 'authentication'],
  ['50104', 'authentication'],
  ['50105', 'authentication'],
  ['50106', 'authentication'],
  ['50107', 'authentication'],
  ['50110', 'permission'],
  ['50111', 'authentication'],
  ['50112', 'clock'],
  ['50113', 'authentication'],
  ['50114', 'authentication'],
  ['50119', 'authentication'],
  ['50120', 'permission'],
  ['51001', 'bad_symbol'],
  ['51603', 'order_not_found'],
  ['59999', 'invalid_answer']
] as const

const ofOrder = order('3001', 'ETH-USDT')
const ofSwap = order('3001', 'ETH-USDT-SWAP')
const ofAlgo = order('4001', 'ETH-USDT-SWAP', 'CONDITIONAL')
const TRADE_ORDER = '/api/v5/trade/order'
const ALGO_ORDER = '/api/v5/trade/order-algo'
const FILLS = '/api/v5/trade/fills'
const contracts = { '/api/v5/public/instruments?instType=SWAP': INSTRUMENTS }

export const okx: readonly PayloadCase[] = [
  {
    name: 'spot prices with their times, without a pair that has not traded',
    ask: prices,
    answers: {
      '/api/v5/market/tickers?instType=SPOT': answer(
        { instType: 'SPOT', instId: 'ETH-USDT', last: '2000.50', lastSz: '1', ts: '1717000000010' },
        { instType: 'SPOT', instId: 'NEW-USDT', last: '', lastSz: '', ts: '1717000000011' }
      )
    },
    expected: [{ symbol: 'ETHUSDT', exchangeSymbol: 'ETH-USDT', price: '2000.50', at: 1_717_000_000_010 }]
  },
  {
    name: 'prices of linear swaps, without inverse ones',
    market: 'FUTURES',
    ask: prices,
    answers: {
      '/api/v5/market/tickers?instType=SWAP': answer(
        { instType: 'SWAP', instId: 'ETH-USDT-SWAP', last: '2001', ts: '1717000000010' },
        { instType: 'SWAP', instId: 'ETH-USD-SWAP', last: '2002', ts: '1717000000010' }
      )
    },
    expected: [{ symbol: 'ETHUSDT', exchangeSymbol: 'ETH-USDT-SWAP', price: '2001', at: 1_717_000_000_010 }]
  },
  {
    name: 'mark prices of linear swaps, without inverse ones',
    market: 'FUTURES',
    ask: marks,
    answers: {
      '/api/v5/public/mark-price?instType=SWAP': answer(
        { instType: 'SWAP', instId: 'ETH-USDT-SWAP', markPx: '2001.1', ts: '1717000000010' },
        { instType: 'SWAP', instId: 'ETH-USD-SWAP', markPx: '2002', ts: '1717000000010' }
      )
    },
    expected: [{ symbol: 'ETHUSDT', exchangeSymbol: 'ETH-USDT-SWAP', price: '2001.1', at: 1_717_000_000_010 }]
  },
  { name: 'a spot order', ask: ofOrder, answers: { [TRADE_ORDER]: answer(ORDER) }, expected: READ_ORDER },
  {
    name: 'a partly filled order with its average price',
    ask: ofOrder,
    answers: { [TRADE_ORDER]: answer({ ...ORDER, state: 'partially_filled', accFillSz: '1.25', avgPx: '2001' }) },
    expected: { ...READ_ORDER, status: 'partially_filled', filledQuantity: '1.25', averagePrice: '2001' }
  },
  {
    name: 'a spot market order to buy for an amount of quote currency: it has no quantity',
    ask: ofOrder,
    answers: {
      [TRADE_ORDER]: answer({ ...ORDER, ordType: 'market', side: 'buy', px: '', sz: '500', tgtCcy: 'quote_ccy' })
    },
    expected: { ...READ_ORDER, side: 'BUY', orderType: 'MARKET', price: null, quantity: null }
  },
  {
    name: 'a spot market order to buy base units: it has a quantity',
    ask: ofOrder,
    answers: { [TRADE_ORDER]: answer({ ...ORDER, ordType: 'market', side: 'buy', px: '', tgtCcy: 'base_ccy' }) },
    expected: { ...READ_ORDER, side: 'BUY', orderType: 'MARKET', price: null }
  },
  {
    name: 'a spot market order to sell: it has a quantity',
    ask: ofOrder,
    answers: { [TRADE_ORDER]: answer({ ...ORDER, ordType: 'market', px: '' }) },
    expected: { ...READ_ORDER, orderType: 'MARKET', price: null }
  },
  {
    name: 'a swap order, in base units: contracts times their size and multiplier',
    market: 'FUTURES',
    ask: ofSwap,
    answers: { ...contracts, [TRADE_ORDER]: answer({ ...SWAP_ORDER, accFillSz: '1', avgPx: '1999' }) },
    expected: { ...READ_SWAP_ORDER, filledQuantity: '0.1', averagePrice: '1999' }
  },
  {
    name: 'no swap order whose contract has no known size',
    market: 'FUTURES',
    ask: order('3001', 'NEW-USDT-SWAP'),
    answers: { ...contracts, [TRADE_ORDER]: answer({ ...SWAP_ORDER, instId: 'NEW-USDT-SWAP' }) },
    expected: { refused: 'invalid_answer' }
  },
  ...Object.entries(STATES).map(
    ([state, status]): PayloadCase => ({
      name: `the order state ${state}`,
      ask: ofOrder,
      answers: { [TRADE_ORDER]: answer({ ...ORDER, state }) },
      expected: { ...READ_ORDER, status }
    })
  ),
  ...[{ state: 'paused' }, { side: 'BUY' }, { posSide: 'both' }].map(
    (wrong): PayloadCase => ({
      name: `no order with ${JSON.stringify(wrong)}`,
      ask: ofOrder,
      answers: { [TRADE_ORDER]: answer({ ...ORDER, ...wrong }) },
      expected: { refused: 'invalid_answer' }
    })
  ),
  ...Object.entries(ALGO_STATES).map(
    ([state, status]): PayloadCase => ({
      name: `the state ${state} of a conditional order that has become no other`,
      market: 'FUTURES',
      ask: ofAlgo,
      answers: { ...contracts, [ALGO_ORDER]: answer({ ...ALGO, state }) },
      expected: { ...READ_ALGO, status, ...(state === 'effective' && { lostChild: true }) }
    })
  ),
  ...[
    { triggerPx: '2200', stopPrice: '2200' },
    { slTriggerPx: '', tpTriggerPx: '1900', stopPrice: '1900' }
  ].map(
    ({ stopPrice, ...row }): PayloadCase => ({
      name: `the trigger price of a conditional order from ${Object.keys(row).at(-1)}`,
      market: 'FUTURES',
      ask: ofAlgo,
      answers: { ...contracts, [ALGO_ORDER]: answer({ ...ALGO, ...row }) },
      expected: { ...READ_ALGO, stopPrice }
    })
  ),
  {
    name: 'no conditional order with an unknown state',
    market: 'FUTURES',
    ask: ofAlgo,
    answers: { ...contracts, [ALGO_ORDER]: answer({ ...ALGO, state: 'asleep' }) },
    expected: { refused: 'invalid_answer' }
  },
  ...[{ ordIdList: ['3001'] }, { ordId: '3001' }].map(
    (became): PayloadCase => ({
      name: `a triggered conditional order that names what it became as ${JSON.stringify(became)}`,
      market: 'FUTURES',
      ask: ofAlgo,
      answers: {
        ...contracts,
        [ALGO_ORDER]: answer({ ...ALGO, state: 'effective', ...became }),
        [`${TRADE_ORDER}?ordId=3001`]: answer({ ...SWAP_ORDER, state: 'filled', accFillSz: '3', avgPx: '2105' })
      },
      expected: {
        ...READ_SWAP_ORDER,
        exchangeOrderId: '4001',
        orderType: 'CONDITIONAL',
        stopPrice: '2100',
        filledQuantity: '0.3',
        averagePrice: '2105',
        status: 'filled'
      }
    })
  ),
  {
    name: 'open orders of swaps, without inverse ones',
    market: 'FUTURES',
    ask: openOrders,
    answers: {
      ...contracts,
      '/api/v5/trade/orders-pending?instType=SWAP': answer(SWAP_ORDER, { ...SWAP_ORDER, instId: 'ETH-USD-SWAP' })
    },
    expected: [READ_SWAP_ORDER]
  },
  {
    name: 'the fills of a spot order: a paid fee above zero, a rebate below, oldest first',
    ask: fills('3001', 'ETH-USDT'),
    answers: {
      [FILLS]: answer(
        { ...FILL, billId: '6003', tradeId: '5003', ordId: '3009' },
        { ...FILL, billId: '6002', tradeId: '5002', side: 'sell', fee: '0.5', feeCcy: 'USDT' },
        FILL,
        { ...FILL, billId: '6000', tradeId: '5000', fillTime: '', ts: '1717000000019', fee: '' }
      ),
      '/api/v5/trade/fills-history': answer()
    },
    expected: [
      { ...READ_FILL, exchangeTradeId: '5000', fee: null, executedAt: 1_717_000_000_019 },
      READ_FILL,
      { ...READ_FILL, exchangeTradeId: '5002', side: 'SELL', fee: '-0.5', feeAsset: 'USDT' }
    ]
  },
  {
    name: 'the fills of a swap order from the history of three months, with the realised profit',
    market: 'FUTURES',
    ask: fills('3001', 'ETH-USDT-SWAP'),
    answers: {
      ...contracts,
      [FILLS]: answer(),
      '/api/v5/trade/fills-history': answer({
        ...FILL,
        instType: 'SWAP',
        instId: 'ETH-USDT-SWAP',
        posSide: 'short',
        fillSz: '4',
        fillPnl: '-7.5'
      })
    },
    expected: [
      { ...READ_FILL, exchangeSymbol: 'ETH-USDT-SWAP', positionSide: 'SHORT', quantity: '0.4', realizedPnl: '-7.5' }
    ]
  },
  {
    name: 'no fills of a conditional order that was not triggered, without a call for them',
    market: 'FUTURES',
    ask: fills('4001', 'ETH-USDT-SWAP', 'CONDITIONAL'),
    answers: { [ALGO_ORDER]: answer(ALGO) },
    expected: []
  },
  {
    name: 'balances: equity without the unrealised profit, what is not available is locked',
    ask: balances,
    answers: {
      '/api/v5/account/balance': answer({
        totalEq: '1',
        uTime: '1717000000030',
        details: [
          { ccy: 'USDT', eq: '110.5', upl: '10', availBal: '60', cashBal: '100.5' },
          { ccy: 'ETH', eq: '2.50', upl: '', availBal: '2.50', cashBal: '2.50' },
          { ccy: 'USDC', eq: '5', upl: '0', availBal: '9', cashBal: '5' },
          { ccy: 'BTC', eq: '3', upl: '3', availBal: '', cashBal: '0' }
        ]
      })
    },
    expected: [
      { asset: 'USDT', free: '60', locked: '40.5', total: '100.5' },
      { asset: 'ETH', free: '2.50', locked: '0', total: '2.50' },
      { asset: 'USDC', free: '5', locked: '0', total: '5' }
    ]
  },
  {
    name: 'positions in base units: a short below zero in hedge and in net mode, a flat one left out',
    market: 'FUTURES',
    ask: positions,
    answers: {
      ...contracts,
      '/api/v5/account/positions?instType=SWAP': answer(
        ...[
          { posSide: 'short', pos: '20', avgPx: '2000', upl: '-1.5' },
          { posSide: 'net', pos: '-5', avgPx: '2000', upl: '2' },
          { posSide: 'long', pos: '7', avgPx: '', upl: '' },
          { posSide: 'net', pos: '0', avgPx: '', upl: '' }
        ].map(row => ({ instType: 'SWAP', instId: 'ETH-USDT-SWAP', markPx: '2001', uTime: '1717000000040', ...row }))
      )
    },
    expected: [
      { positionSide: 'SHORT', quantity: '-2', entryPrice: '2000', unrealizedPnl: '-1.5' },
      { positionSide: 'BOTH', quantity: '-0.5', entryPrice: '2000', unrealizedPnl: '2' },
      { positionSide: 'LONG', quantity: '0.7', entryPrice: null, unrealizedPnl: null }
    ].map(({ positionSide, quantity, entryPrice, unrealizedPnl }) => ({
      symbol: 'ETHUSDT',
      exchangeSymbol: 'ETH-USDT-SWAP',
      positionSide,
      quantity,
      entryPrice,
      markPrice: '2001',
      unrealizedPnl,
      updatedAt: 1_717_000_000_040
    }))
  },
  ...REFUSALS.map(
    ([code, refused]): PayloadCase => ({
      name: `the refusal ${code} in an answer of 200`,
      ask: ofOrder,
      answers: {
        '/api/v5/public/time': answer({ ts: '1717000000050' }),
        [TRADE_ORDER]: refusal(200, `{"code":"${code}","msg":"refused","data":[]}`, { 'retry-after': '60' })
      },
      expected: { refused, exchangeCode: code }
    })
  ),
  {
    name: 'the refusal of the item where the answer as a whole says only that something failed',
    ask: ofOrder,
    answers: { [TRADE_ORDER]: '{"code":"1","msg":"","data":[{"ordId":"","sCode":"51603","sMsg":"not found"}]}' },
    expected: { refused: 'order_not_found', exchangeCode: '51603' }
  },
  {
    name: 'an unknown refusal with a status of its own by that status',
    ask: ofOrder,
    answers: { [TRADE_ORDER]: refusal(503, '{"code":"59998","msg":"","data":[]}') },
    expected: { refused: 'unavailable', exchangeCode: '503' }
  },
  {
    name: 'the instruments, without inverse contracts and rows that cannot be read',
    market: 'FUTURES',
    ask: instruments,
    answers: {
      '/api/v5/public/instruments?instType=SWAP': answer(
        {
          instId: 'ETH-USDT-SWAP',
          ctType: 'linear',
          ctVal: '0.01',
          ctMult: '10',
          tickSz: '0.5',
          lotSz: '2',
          state: 'live'
        },
        {
          instId: 'BTC-USDT-SWAP',
          ctType: 'linear',
          ctVal: '0.01',
          ctMult: '1',
          tickSz: '',
          lotSz: '',
          state: 'suspend'
        },
        { instId: 'ETH-USD-SWAP', ctType: 'inverse', ctVal: '10', ctMult: '1', state: 'live' },
        { instId: 'X-USDT-SWAP', ctType: 'linear', ctVal: 'NaN', ctMult: '1', state: 'live' },
        { instId: 'Y-USDT-SWAP', ctType: 'linear', ctVal: '0', ctMult: '1', state: 'live' },
        { ctType: 'linear', ctVal: '1', ctMult: '1', state: 'live' }
      )
    },
    expected: [
      {
        exchangeSymbol: 'ETH-USDT-SWAP',
        symbol: 'ETHUSDT',
        base: 'ETH',
        quote: 'USDT',
        contractValue: '0.1',
        priceStep: '0.5',
        quantityStep: '0.2',
        trading: true
      },
      {
        exchangeSymbol: 'BTC-USDT-SWAP',
        symbol: 'BTCUSDT',
        base: 'BTC',
        quote: 'USDT',
        contractValue: '0.01',
        priceStep: null,
        quantityStep: null,
        trading: false
      }
    ]
  },
  ...okxLedger
]
