// @FEAT:exchanges @COMP:service @TYPE:core
import type { Decimal } from './decimal.ts'

/** What an account holds of one asset; assets it holds nothing of are left out. */
export interface Balance {
  asset: string
  free: Decimal
  locked: Decimal
  /** `free + locked`; on margin accounts the wallet balance, without unrealised profit. */
  total: Decimal
}
