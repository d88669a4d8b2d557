// @FEAT:health-monitoring @COMP:service @TYPE:integration
import type { CheckDetails } from '../domain/check-details.ts'
import type { ExchangeStatus } from './http/exchange-gateway.ts'

/**
 * One check per exchange that was called; the age is that of the last success. An exchange without any answer yet is
 * degraded.
 * @param nowMs milliseconds since the epoch
 */
export function exchangeDetails(statuses: readonly ExchangeStatus[], nowMs: number): CheckDetails[] {
  return statuses.map(status => {
    const code = codeOf(status)
    return {
      name: `exchange_${status.exchange.toLowerCase()}`,
      status: code === null ? 'ok' : 'degraded',
      code,
      latency_ms: null,
      age_ms: status.lastSuccessAt === null ? null : Math.max(0, nowMs - status.lastSuccessAt),
      since: null
    }
  })
}

function codeOf({ circuit, lastSuccessAt, lastErrorAt, lastErrorCode, blockedForMs }: ExchangeStatus): string | null {
  if (circuit !== 'closed') return 'circuit_open'
  if (blockedForMs > 0) return 'rate_limited'
  if ((lastErrorAt ?? 0) > (lastSuccessAt ?? 0)) return lastErrorCode
  return lastSuccessAt === null ? 'no_answer' : null
}
