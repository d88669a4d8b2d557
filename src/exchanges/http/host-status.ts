// @FEAT:exchanges @COMP:service @TYPE:helper
import type { ExchangeErrorCode } from '../../domain/exchange-error-code.ts'
import type { Millis } from '../../domain/millis.ts'
import type { CircuitState } from './circuit-breaker.ts'
import type { LimitUse } from './rate-budget.ts'

/** The state of one host of an exchange. */
export interface HostStatus {
  /** Identifies the host among those of its exchange. */
  id: string
  /** Host name of the API, without path or keys. */
  host: string
  lastSuccessAt: Millis | null
  /** From the last request that was answered to the head of its answer; null before the first. */
  latencyMs: Millis | null
  lastErrorAt: Millis | null
  lastErrorCode: ExchangeErrorCode | null
  /** The exchange's own code of that error. */
  lastExchangeCode: string | null
  /** The host's clock minus ours; null until measured. */
  clockSkewMs: number | null
  circuit: CircuitState
  /** How long no call is made because the exchange demanded it; 0 when calls are made. */
  blockedForMs: number
  /** What is used of the limits of our address. */
  uses: LimitUse[]
}
