import { Big } from 'big.js'
import type { MarketType } from '../../../src/domain/market.ts'
import type { OrderSide, OrderState } from '../../../src/domain/order.ts'
import type { PositionSide } from '../../../src/domain/position.ts'
import type { SimulatedEntry } from './ledger.ts'

/** A pair that the simulated exchange trades. */
export interface SimulatedSymbol {
  base: string
  quote: string
  /** Base and quote, `BTCUSDT`. */
  symbol: string
}

export interface SimulatedFill {
  tradeId: string
  price: string
  quantity: string
  /** Positive when paid. */
  fee: string
  feeAsset: string
  /** Whether answers name the asset of the fee. */
  isFeeAssetNamed: boolean
  /** A tax in addition to the fee: `extraFees` of Bybit. Default none. */
  tax?: { coin: string; amount: string }
  realizedPnl: string
  at: number
  /** Whether the lists of fills have it. The order's own state always counts it. */
  listed: boolean
}

/** An order in this model; quantities are in base units on every exchange. */
export interface SimulatedOrder {
  exchangeOrderId: string
  /** For conditional orders of Binance futures and OKX: the ordinary orders that this one became. */
  becameIds: string[]
  /** A triggered conditional order whose ordinary order the exchange does not name. */
  lostChild: boolean
  conditional: boolean
  /** An order of the exchange itself; null for an order of a user. */
  forced: 'liquidation' | 'adl' | null
  clientOrderId: string
  account: SimulatedAccount
  market: MarketType
  symbol: string
  exchangeSymbol: string
  side: OrderSide
  positionSide: PositionSide
  type: 'LIMIT' | 'MARKET' | 'STOP_MARKET'
  price: string | null
  stopPrice: string | null
  quantity: string
  /** The amount of quote currency of an order without a quantity. */
  quoteAmount: string | null
  filledQuantity: string
  /** Amount of quote currency filled so far. */
  cost: string
  status: OrderState
  fills: SimulatedFill[]
  createdAt: number
  updatedAt: number
}

interface SimulatedPosition {
  market: MarketType
  symbol: string
  exchangeSymbol: string
  positionSide: PositionSide
  /** Signed, base units. */
  quantity: string
  entryPrice: string
}

interface SimulatedBalance {
  free: string
  locked: string
}

/** An account and its keys. Everything in it may be changed at any time. */
export interface SimulatedAccount {
  apiKey: string
  apiSecret: string
  passphrase: string
  /** `revoked`: the key is rejected; `forbidden`: the key has no permissions. */
  state: 'ok' | 'revoked' | 'forbidden'
  /** By market, then asset. */
  balances: Record<MarketType, Map<string, SimulatedBalance>>
  /** What spot margin lent, by asset; it is a part of the balances. Only Bybit shows it. */
  borrowed: Map<string, string>
  positions: SimulatedPosition[]
  orders: SimulatedOrder[]
  /** Changes of the wallets other than by fills. `SimulatedExchange.ledger` makes them. */
  entries: SimulatedEntry[]
  /** Paths that the key may not read. */
  forbidden: RegExp | null
}

export function newAccount(credentials: { apiKey: string; apiSecret: string; passphrase?: string }): SimulatedAccount {
  return {
    passphrase: 'passphrase',
    ...credentials,
    state: 'ok',
    balances: { SPOT: new Map(), FUTURES: new Map() },
    borrowed: new Map(),
    positions: [],
    orders: [],
    entries: [],
    forbidden: null
  }
}

/** Applies a fill to the account: wallets on spot, position and realised profit on futures. */
export function settle(order: SimulatedOrder, { base, quote }: SimulatedSymbol, fill: SimulatedFill): void {
  const cost = new Big(fill.price).times(fill.quantity)
  const signed = order.side === 'BUY' ? new Big(fill.quantity) : new Big(fill.quantity).neg()
  const wallet = order.account.balances[order.market]
  credit(wallet, fill.feeAsset, new Big(fill.fee).neg())
  if (fill.tax !== undefined) credit(wallet, fill.tax.coin, new Big(fill.tax.amount).neg())
  if (order.market === 'SPOT') {
    credit(wallet, base, signed)
    credit(wallet, quote, order.side === 'BUY' ? cost.neg() : cost)
    return
  }
  fill.realizedPnl = moved(positionOf(order), signed, fill.price)
  credit(wallet, quote, new Big(fill.realizedPnl))
}

function positionOf(order: SimulatedOrder): SimulatedPosition {
  const { account, market, symbol, exchangeSymbol, positionSide } = order
  const held = account.positions.find(position => position.symbol === symbol && position.positionSide === positionSide)
  if (held !== undefined) return held
  const position = { market, symbol, exchangeSymbol, positionSide, quantity: '0', entryPrice: '0' }
  account.positions.push(position)
  return position
}

/** Changes a position by average cost. @returns the realised gross profit */
function moved(position: SimulatedPosition, change: Big, price: string): string {
  const before = new Big(position.quantity)
  const after = before.plus(change)
  const opens = before.eq(0) || before.s === change.s
  const closed = opens ? new Big(0) : before.abs().lt(change.abs()) ? before : change.neg()
  const profit = new Big(price).minus(position.entryPrice).times(closed)
  if (opens) {
    const cost = before.abs().times(position.entryPrice).plus(change.abs().times(price))
    position.entryPrice = cost.div(after.abs()).toFixed()
  } else if (before.abs().lt(change.abs())) position.entryPrice = price
  else if (after.eq(0)) position.entryPrice = '0'
  position.quantity = after.toFixed()
  return profit.toFixed()
}

/** Changes the free part of an asset in a wallet. */
export function credit(wallet: Map<string, SimulatedBalance>, asset: string, amount: Big): void {
  const { free, locked } = wallet.get(asset) ?? { free: '0', locked: '0' }
  wallet.set(asset, { free: new Big(free).plus(amount).toFixed(), locked })
}
