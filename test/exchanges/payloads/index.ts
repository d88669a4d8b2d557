import type { ExchangeName } from '../../../src/domain/market.ts'
import { binance } from './binance.ts'
import { bithumb } from './bithumb.ts'
import { bybit } from './bybit.ts'
import { okx } from './okx.ts'
import type { PayloadCase } from './payload-case.ts'
import { upbit } from './upbit.ts'

/** Answers written for this project, so that every parser is tested without the recorded answers. */
export const PAYLOADS: Readonly<Record<ExchangeName, readonly PayloadCase[]>> = {
  BINANCE: binance,
  BYBIT: bybit,
  OKX: okx,
  UPBIT: upbit,
  BITHUMB: bithumb
}
