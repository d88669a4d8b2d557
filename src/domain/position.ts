// @FEAT:exchanges @COMP:service @TYPE:core
import type { Decimal } from './decimal.ts'
import type { Millis } from './millis.ts'

export type PositionSide = 'BOTH' | 'LONG' | 'SHORT'

/** An open position; flat ones are left out. */
export interface Position {
  symbol: string
  exchangeSymbol: string
  /** `BOTH` in one-way mode. */
  positionSide: PositionSide
  /** In base units, signed: below zero is short, in hedge mode too. */
  quantity: Decimal
  entryPrice: Decimal | null
  markPrice: Decimal | null
  unrealizedPnl: Decimal | null
  updatedAt: Millis | null
}
