// @FEAT:exchanges @COMP:service @TYPE:core
import { type Decimal, Exact, isZero } from './decimal.ts'

/** What an account holds of one asset. Assets of which it holds nothing are left out. */
export interface Balance {
  asset: string
  free: Decimal
  locked: Decimal
  /** `free + locked`; on margin accounts the wallet balance, without unrealised profit. */
  total: Decimal
}

/** The balance of an asset by its free and locked parts; null when both are zero. */
export function balanceOfParts(asset: string, free: Decimal, locked: Decimal): Balance | null {
  if (isZero(free) && isZero(locked)) return null
  return { asset, free, locked, total: new Exact(free).plus(locked).toFixed() }
}

/**
 * The balance of an asset by its total and the part that is available; null when the total is zero. With several assets
 * as margin more can be available than the total: then all of it is free.
 */
export function balanceOfTotal(asset: string, total: Decimal, available: Decimal): Balance | null {
  if (isZero(total)) return null
  const free = new Exact(available).gt(total) ? total : available
  return { asset, free, locked: new Exact(total).minus(free).toFixed(), total }
}
