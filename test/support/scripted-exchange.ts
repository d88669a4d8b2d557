import { Exact } from '../../src/domain/decimal.ts'
import type { ExchangeErrorCode } from '../../src/domain/exchange-error-code.ts'
import type { Fill } from '../../src/domain/fill.ts'
import type { MarketType } from '../../src/domain/market.ts'
import type { OrderRef, OrderSide, OrderState, UnifiedOrder } from '../../src/domain/order.ts'
import type { PositionSide } from '../../src/domain/position.ts'
import type { ExchangeClient, OrderCosts } from '../../src/exchanges/exchange-client.ts'
import { ExchangeError } from '../../src/exchanges/exchange-error.ts'

export interface ScriptedOrder extends UnifiedOrder {
  market: MarketType
  fills: Fill[]
  /** How many more reads of its fills lack a fill, by trade id. */
  late: Map<string, number>
}

/** An exchange in memory that implements the port, for tests that make thousands of calls. */
export class ScriptedExchange {
  readonly orders: ScriptedOrder[] = []
  /** Calls so far, as `operation` or `operation id`. */
  calls: string[] = []
  /** The error codes of the next calls, by operation, or by operation and order id. */
  readonly failures = new Map<string, ExchangeErrorCode>()
  /** How many fills of each order the exchange returns. */
  reportedFills = Number.POSITIVE_INFINITY
  /** Listing all orders is the cheapest way to read one or several of them. */
  orderCosts: OrderCosts = { list: 1, listOfSymbol: 2, order: 2 }
  now = Date.parse('2026-11-01T00:00:00Z')
  #serial = 0

  place(order: {
    market?: MarketType
    symbol?: string
    side?: OrderSide
    positionSide?: PositionSide
    quantity: string
    /** Default: a new one. */
    exchangeOrderId?: string
  }): ScriptedOrder {
    const symbol = order.symbol ?? 'BTCUSDT'
    const placed: ScriptedOrder = {
      market: order.market ?? 'SPOT',
      exchangeOrderId: order.exchangeOrderId ?? String(9_007_199_254_740_993n + BigInt(++this.#serial)),
      clientOrderId: null,
      symbol,
      exchangeSymbol: symbol,
      side: order.side ?? 'BUY',
      positionSide: order.positionSide ?? 'BOTH',
      orderType: 'LIMIT',
      price: '1',
      stopPrice: null,
      quantity: order.quantity,
      filledQuantity: '0',
      averagePrice: null,
      status: 'open',
      createdAt: this.now,
      updatedAt: this.now,
      fills: [],
      late: new Map()
    }
    this.orders.push(placed)
    return placed
  }

  fill(
    order: ScriptedOrder,
    part: {
      quantity: string
      price: string
      fee?: string | null
      feeAsset?: string | null
      tradeId?: string
      /** How many reads of the order's fills lack it. Default 0. */
      late?: number
    }
  ): Fill {
    const fill: Fill = {
      exchangeTradeId: part.tradeId ?? String(++this.#serial),
      exchangeOrderId: order.exchangeOrderId,
      symbol: order.symbol,
      exchangeSymbol: order.exchangeSymbol,
      side: order.side,
      positionSide: order.positionSide,
      price: part.price,
      quantity: part.quantity,
      fee: part.fee === undefined ? '0' : part.fee,
      feeAsset: part.feeAsset === undefined ? 'USDT' : part.feeAsset,
      realizedPnl: null,
      executedAt: this.now
    }
    order.fills.push(fill)
    if (part.late) order.late.set(fill.exchangeTradeId, part.late)
    this.#total(order)
    return fill
  }

  /** Removes a fill, as an exchange does when it busts a trade. */
  bust(order: ScriptedOrder, index: number): void {
    order.fills.splice(index, 1)
    this.#total(order)
  }

  #total(order: ScriptedOrder): void {
    const cost = order.fills.reduce(
      (sum, { price, quantity }) => sum.plus(new Exact(price).times(quantity)),
      new Exact(0)
    )
    const filled = order.fills.reduce((sum, { quantity }) => sum.plus(quantity), new Exact(0))
    order.filledQuantity = filled.toFixed()
    order.averagePrice = filled.eq(0) ? null : cost.div(filled).toFixed()
    this.end(order, filled.gte(order.quantity ?? 0) ? 'filled' : 'partially_filled')
  }

  end(order: ScriptedOrder, status: OrderState): void {
    order.status = status
    order.updatedAt = this.now
  }

  forget(order: ScriptedOrder): void {
    this.orders.splice(this.orders.indexOf(order), 1)
  }

  client(marketType: MarketType): ExchangeClient {
    const unasked = async (): Promise<never> => {
      throw new Error('these tests do not make this call')
    }
    return {
      exchange: 'BINANCE',
      marketType,
      isTestnet: false,
      orderCosts: this.orderCosts,
      fillsListedBy: 'symbol',
      fillsReachMs: Number.POSITIVE_INFINITY,
      ledgerReachMs: Number.POSITIVE_INFINITY,
      openOrders: async ({ exchangeSymbol: only } = {}) => {
        this.#called(only === undefined ? 'openOrders' : `openOrders ${only}`)
        return this.orders
          .filter(({ market, status }) => market === marketType && isOpen(status))
          .filter(({ exchangeSymbol }) => only === undefined || exchangeSymbol === only)
          .map(snapshot)
      },
      order: async ref => {
        this.#called('order', ref)
        return snapshot(this.#find(ref, marketType))
      },
      fills: async ref => {
        this.#called('fills', ref)
        return listedFills(this.#find(ref, marketType)).slice(0, this.reportedFills)
      },
      lastPrices: unasked,
      markPrices: unasked,
      minutePrice: unasked,
      instruments: unasked,
      balances: unasked,
      positions: unasked,
      accountFills: unasked,
      ledger: unasked,
      serverTime: unasked
    }
  }

  #find(ref: OrderRef, marketType: MarketType): ScriptedOrder {
    const found = this.orders.find(
      ({ market, exchangeSymbol, exchangeOrderId }) =>
        market === marketType && exchangeSymbol === ref.exchangeSymbol && exchangeOrderId === ref.exchangeOrderId
    )
    if (found === undefined) throw new ExchangeError('order_not_found', { exchange: 'BINANCE', operation: 'order' })
    return found
  }

  #called(operation: string, ref?: OrderRef): void {
    this.calls.push(operation)
    const own = ref === undefined ? undefined : this.failures.get(`${operation} ${ref.exchangeOrderId}`)
    const code = own ?? this.failures.get(operation)
    if (code !== undefined) throw new ExchangeError(code, { exchange: 'BINANCE', operation })
  }
}

function isOpen(status: OrderState): boolean {
  return status === 'open' || status === 'partially_filled'
}

/** The fills that this read lists. It counts for those that it lacks. */
function listedFills({ fills, late }: ScriptedOrder): Fill[] {
  return fills.filter(({ exchangeTradeId }) => {
    const reads = late.get(exchangeTradeId) ?? 0
    if (reads > 1) late.set(exchangeTradeId, reads - 1)
    else late.delete(exchangeTradeId)
    return reads === 0
  })
}

function snapshot({ market: _market, fills: _fills, late: _late, ...order }: ScriptedOrder): UnifiedOrder {
  return order
}
