// @FEAT:exchanges @COMP:service @TYPE:helper
import type { ExchangeName } from '../../domain/market.ts'

/** The kinds of payloads. Orders are those of lists and of a query by id, conditional ones included. */
export const PAYLOAD_KINDS = ['orders', 'fills', 'balances', 'positions', 'prices', 'instruments', 'ledger'] as const
export type PayloadKind = (typeof PAYLOAD_KINDS)[number]

/** The fields with numbers of one kind of payload, by their own names, wherever they are in the payload. */
interface MoneyFields {
  /** Amounts, prices and quantities that the adapter reads. */
  used: readonly string[]
  /** Amounts, prices and quantities that it does not read, by the reason. */
  ignored: Readonly<Record<string, readonly string[]>>
}

/** What an exchange writes in numbers. */
interface ExchangeNumbers {
  kinds: Readonly<Record<PayloadKind, MoneyFields>>
  /** Numbers that are no money, in every kind: identifiers, times, codes, counts, rates. */
  notMoney: readonly string[]
}

const FEES_OF_FILLS = 'the fees are read from the fills'
const DERIVED = 'follows from fields that are read'
const MARGIN = 'margin, not a holding'
const IN_USD = 'a value in USD'
const RATES = 'a rate'
const OTHER_PRICES = 'another price than the last one'
const NOT_THE_ORDER = 'a setting of the order that does not change its fills'
const NONE: MoneyFields = { used: [], ignored: {} }
const VOLUMES = 'the traded volume of the market'
const BALANCE_AFTER = 'the balance after the change'

/**
 * The amounts that each adapter uses, and those that it ignores with the reason. A number of a recorded payload that is
 * in none of these lists fails a test: a new amount, such as a tax or a debt, must be used or ignored for a reason.
 */
export const MONEY_FIELDS: Readonly<Record<ExchangeName, ExchangeNumbers>> = {
  BINANCE: {
    notMoney: [
      'actualOrderId',
      'adl',
      'algoId',
      'closeTime',
      'code',
      'completeTime',
      'confirmNo',
      'count',
      'createTime',
      'deliveryDate',
      'direction',
      'divTime',
      'endTime',
      'firstId',
      'goodTillDate',
      'id',
      'info',
      'insertTime',
      'lastId',
      'leverage',
      'limit',
      'nextFundingTime',
      'openTime',
      'operateTime',
      'orderId',
      'orderListId',
      'startTime',
      'status',
      'symbol',
      'time',
      'timestamp',
      'total',
      'tradeId',
      'tranId',
      'transId',
      'transactTime',
      'transferType',
      'triggerTime',
      'uid',
      'unlockConfirm',
      'updateTime',
      'walletType',
      'workingTime'
    ],
    kinds: {
      orders: {
        used: [
          'price',
          'stopPrice',
          'triggerPrice',
          'origQty',
          'quantity',
          'executedQty',
          'cummulativeQuoteQty',
          'avgPrice'
        ],
        ignored: {
          [FEES_OF_FILLS]: ['commission', 'qty'],
          [DERIVED]: ['cumQuote', 'cumBase', 'actualPrice'],
          [NOT_THE_ORDER]: ['activatePrice', 'icebergQty', 'priceRate', 'origQuoteOrderQty']
        }
      },
      fills: {
        used: ['price', 'qty', 'commission', 'realizedPnl'],
        ignored: { [DERIVED]: ['quoteQty'] }
      },
      balances: {
        used: ['free', 'locked', 'balance', 'availableBalance'],
        ignored: {
          'a part of the balance': ['crossWalletBalance', 'maxWithdrawAmount'],
          'unrealised profit is no part of a balance': ['crossUnPnl'],
          [RATES]: [
            ...['makerCommission', 'takerCommission', 'buyerCommission', 'sellerCommission'],
            ...['maker', 'taker', 'buyer', 'seller']
          ]
        }
      },
      positions: {
        used: ['positionAmt', 'entryPrice', 'markPrice', 'unRealizedProfit'],
        ignored: {
          [MARGIN]: [
            ...['isolatedMargin', 'isolatedWallet', 'initialMargin', 'maintMargin', 'openOrderInitialMargin'],
            ...['positionInitialMargin', 'maxNotionalValue', 'liquidationPrice', 'bidNotional', 'askNotional']
          ],
          [DERIVED]: ['notional', 'breakEvenPrice']
        }
      },
      prices: {
        used: ['price', 'markPrice'],
        ignored: {
          [OTHER_PRICES]: [
            ...['askPrice', 'bidPrice', 'highPrice', 'lowPrice', 'openPrice', 'prevClosePrice', 'weightedAvgPrice'],
            ...['lastPrice', 'priceChange', 'indexPrice', 'estimatedSettlePrice']
          ],
          [VOLUMES]: ['askQty', 'bidQty', 'lastQty', 'volume', 'quoteVolume'],
          [RATES]: ['priceChangePercent', 'interestRate', 'lastFundingRate']
        }
      },
      instruments: { used: ['tickSize', 'stepSize'], ignored: { [MARGIN]: ['autoAssetExchange'] } },
      ledger: {
        used: ['income', 'amount', 'transactionFee', 'transferedAmount', 'fromAmount', 'toAmount'],
        ignored: {
          'the charge for dust, no part of what is transferred': ['serviceChargeAmount', 'totalServiceChargeAmount'],
          [DERIVED]: ['totalTransferedAmount'],
          [RATES]: ['ratio', 'inverseRatio']
        }
      }
    }
  },
  BYBIT: {
    notMoney: [
      'adlRankIndicator',
      'autoAddMargin',
      'createdTime',
      'deliveryTime',
      'execTime',
      'id',
      'isLeverage',
      'leverage',
      'nextFundingTime',
      'positionIdx',
      'retCode',
      'riskId',
      'seq',
      'smpGroup',
      'smpOrderId',
      'time',
      'tradeMode',
      'transactionTime',
      'triggerDirection',
      'updatedTime'
    ],
    kinds: {
      orders: {
        used: ['price', 'triggerPrice', 'qty', 'cumExecQty', 'avgPrice'],
        ignored: {
          [FEES_OF_FILLS]: ['cumExecFee', 'cumFeeDetail', 'extraFees', 'fee', 'feeRate'],
          [DERIVED]: ['cumExecValue', 'leavesQty', 'leavesValue'],
          [NOT_THE_ORDER]: [
            ...['lastPriceOnCreated', 'slLimitPrice', 'tpLimitPrice', 'stopLoss', 'takeProfit', 'slippageTolerance']
          ]
        }
      },
      fills: {
        used: ['execPrice', 'execQty', 'execFee', 'execFeeV2', 'execPnl', 'extraFees', 'fee'],
        ignored: {
          [DERIVED]: ['execValue', 'leavesQty', 'closedSize'],
          [RATES]: ['feeRate'],
          'of the order': ['orderPrice', 'orderQty'],
          [OTHER_PRICES]: ['markPrice', 'indexPrice', 'underlyingPrice']
        }
      },
      balances: {
        used: [
          ...['walletBalance', 'spotBorrow', 'locked', 'totalOrderIM', 'totalPositionIM'],
          ...['equity', 'unrealisedPnl', 'totalEquity', 'totalMarginBalance']
        ],
        ignored: {
          'spotBorrow, and what derivatives owe: that is a wallet below zero': ['borrowAmount'],
          'no term of the equation of the equity': ['accruedInterest', 'bonus'],
          'the past of the account': ['cumRealisedPnl'],
          'what could be borrowed or withdrawn': ['availableToBorrow', 'availableToWithdraw'],
          [MARGIN]: ['totalPositionMM', 'totalInitialMargin', 'totalMaintenanceMargin'],
          [IN_USD]: ['usdValue', 'totalWalletBalance', 'totalAvailableBalance', 'totalPerpUPL'],
          [RATES]: ['accountIMRate', 'accountMMRate', 'accountLTV']
        }
      },
      positions: {
        used: ['size', 'avgPrice', 'entryPrice', 'markPrice', 'unrealisedPnl'],
        ignored: {
          'realised profit is computed from the fills': ['cumRealisedPnl', 'curRealisedPnl'],
          [MARGIN]: ['positionBalance', 'positionIM', 'positionMM', 'riskLimitValue', 'liqPrice', 'bustPrice'],
          [DERIVED]: ['positionValue'],
          [NOT_THE_ORDER]: ['stopLoss', 'takeProfit', 'trailingStop']
        }
      },
      prices: {
        used: ['lastPrice', 'markPrice'],
        ignored: {
          [OTHER_PRICES]: [
            ...['ask1Price', 'bid1Price', 'highPrice24h', 'lowPrice24h', 'prevPrice1h', 'prevPrice24h'],
            ...['indexPrice', 'usdIndexPrice']
          ],
          [VOLUMES]: ['ask1Size', 'bid1Size', 'turnover24h', 'volume24h', 'openInterest', 'openInterestValue'],
          [RATES]: ['fundingRate', 'price24hPcnt']
        }
      },
      instruments: {
        used: ['tickSize', 'qtyStep', 'basePrecision'],
        ignored: { 'limits of new orders': ['maxOrderQty', 'minPrice', 'minLeverage'] }
      },
      ledger: {
        used: ['change', 'cashFlow', 'funding'],
        ignored: {
          [BALANCE_AFTER]: ['cashBalance'],
          'a part of the change; that of a fill is read from the fills': ['fee', 'extraFees'],
          'bonuses are no part of the equation of the change': ['bonusChange'],
          'of the fill or the position': ['qty', 'size', 'tradePrice'],
          [RATES]: ['feeRate']
        }
      }
    }
  },
  OKX: {
    notMoney: [
      'adl',
      'algoId',
      'billId',
      'cTime',
      'closeFraction',
      'code',
      'fillTime',
      'from',
      'lever',
      'ordId',
      'ordIdList',
      'pTime',
      'posId',
      'subType',
      'to',
      'tradeId',
      'ts',
      'type',
      'uTime'
    ],
    kinds: {
      orders: {
        used: ['px', 'sz', 'accFillSz', 'avgPx', 'triggerPx', 'slTriggerPx', 'tpTriggerPx'],
        ignored: {
          [FEES_OF_FILLS]: ['fee', 'rebate', 'pnl'],
          'of the last fill alone': ['fillPx', 'fillSz'],
          [NOT_THE_ORDER]: ['slOrdPx', 'tpOrdPx']
        }
      },
      fills: { used: ['fillPx', 'fillSz', 'fee', 'fillPnl'], ignored: {} },
      balances: {
        used: [
          ...['eq', 'upl', 'availBal', 'cashBal', 'isoEq', 'isoUpl', 'interest'],
          ...['stgyEq', 'smtSyncEq', 'spotCopyTradingEq', 'notionalUsdForOption']
        ],
        ignored: {
          'debts are a balance below zero, a part of eq': ['liab', 'crossLiab', 'isoLiab', 'uplLiab'],
          'a part of the balance': ['frozenBal', 'ordFrozen', 'fixedBal', 'availEq', 'spotIsoBal', 'borrowFroz'],
          'trial funds, no term of the equation of the equity': ['rewardBal'],
          [IN_USD]: ['eqUsd', 'disEq', 'totalEq', 'adjEq'],
          [MARGIN]: ['imr', 'mmr', 'notionalLever', 'maxLoan'],
          'a level of risk': ['twap']
        }
      },
      positions: {
        used: ['pos', 'avgPx', 'markPx', 'upl'],
        ignored: {
          'realised profit, fees and funding are no part of a position here': [
            ...['realizedPnl', 'pnl', 'fee', 'fundingFee', 'liqPenalty']
          ],
          'of margin positions, which are not read': [
            ...['baseBal', 'quoteBal', 'quoteBorrowed', 'quoteInterest', 'interest', 'spotInUseAmt'],
            ...['pendingCloseOrdLiabVal']
          ],
          'of options, which are not read': ['optVal'],
          [MARGIN]: ['margin', 'mgnRatio', 'mmr', 'imr', 'liqPx'],
          [DERIVED]: ['availPos', 'bePx', 'notionalUsd', 'uplLastPx', 'uplRatio', 'uplRatioLastPx'],
          [OTHER_PRICES]: ['last', 'idxPx', 'usdPx'],
          [NOT_THE_ORDER]: ['slTriggerPx', 'tpTriggerPx']
        }
      },
      prices: {
        used: ['last', 'markPx'],
        ignored: {
          [OTHER_PRICES]: ['askPx', 'bidPx', 'high24h', 'low24h', 'open24h', 'sodUtc0', 'sodUtc8'],
          [VOLUMES]: ['askSz', 'bidSz', 'lastSz', 'vol24h', 'volCcy24h']
        }
      },
      instruments: { used: ['tickSz', 'lotSz', 'ctVal', 'ctMult'], ignored: {} },
      ledger: {
        used: ['balChg', 'posBalChg', 'pnl', 'fee'],
        ignored: {
          [BALANCE_AFTER]: ['bal', 'posBal'],
          'of the fill or the position': ['sz', 'px', 'fillPxUsd'],
          'the change of the bill has it': ['interest', 'earnAmt'],
          [OTHER_PRICES]: ['fillIdxPx', 'fillMarkPx', 'fillFwdPx'],
          [RATES]: ['earnApr', 'fillPxVol', 'fillMarkVol']
        }
      }
    }
  },
  UPBIT: tokenNumbers('trade_price', ['identifier', 'new_order_identifier']),
  BITHUMB: tokenNumbers('closing_price', ['status', 'date', 'cancel_date', 'order_date', 'transaction_date'], {
    'of generation 1, which is not called for orders': [
      ...['fee', 'total', 'units', 'order_price', 'order_qty', 'watch_price']
    ]
  })
}

/** Upbit and Bithumb. @param price the field of a ticker that is read */
function tokenNumbers(
  price: 'trade_price' | 'closing_price',
  notMoney: readonly string[] = [],
  otherOrders: MoneyFields['ignored'] = {}
): ExchangeNumbers {
  const orders: MoneyFields = {
    used: [
      ...['price', 'volume', 'executed_volume', 'executed_funds', 'remaining_volume'],
      ...['funds', 'paid_fee', 'ask_fee', 'bid_fee']
    ],
    ignored: {
      'what the order holds back; the balances have it': ['locked', 'reserved_fee', 'remaining_fee'],
      ...otherOrders
    }
  }
  return {
    notMoney: [
      ...['trades_count', 'uuid', 'txid', 'timestamp', 'trade_timestamp', 'trade_date', 'trade_date_kst', 'trade_time'],
      ...['trade_time_kst', ...notMoney]
    ],
    kinds: {
      orders,
      fills: orders,
      balances: {
        used: ['balance', 'locked'],
        ignored: { 'the cost is computed from the fills': ['avg_buy_price', 'avg_krw_buy_price'] }
      },
      positions: NONE,
      prices: {
        used: [price],
        ignored: {
          'of the other generation of tickers': [price === 'trade_price' ? 'closing_price' : 'trade_price'],
          [OTHER_PRICES]: [
            ...['opening_price', 'high_price', 'low_price', 'prev_closing_price', 'max_price', 'min_price'],
            ...['highest_52_week_price', 'lowest_52_week_price', 'change_price', 'signed_change_price', 'fluctate_24H']
          ],
          [VOLUMES]: [
            ...['acc_trade_price', 'acc_trade_price_24h', 'acc_trade_value', 'acc_trade_value_24H', 'acc_trade_volume'],
            ...['acc_trade_volume_24h', 'trade_volume', 'units_traded', 'units_traded_24H']
          ],
          [RATES]: ['change_rate', 'signed_change_rate', 'fluctate_rate_24H']
        }
      },
      instruments: NONE,
      ledger: { used: ['amount', 'fee'], ignored: { 'a value in won': ['krw_amount'] } }
    }
  }
}
