// @FEAT:health-monitoring @COMP:service @TYPE:integration
import type { CheckDetails } from '../domain/check-details.ts'
import type { ExchangeReport } from './exchange-registry.ts'

/**
 * One check per exchange that was called; the latency is that of the last answer, the age that of the last success. An exchange without any answer yet is
 * degraded, and so is one while the latest reading of one of its lists had invalid rows.
 * @param nowMs milliseconds since the epoch
 */
export function exchangeDetails(statuses: readonly ExchangeReport[], nowMs: number): CheckDetails[] {
  return statuses.map(status => {
    const code = codeOf(status)
    return {
      name: `exchange_${status.exchange.toLowerCase()}`,
      status: code === null ? 'ok' : 'degraded',
      code,
      latency_ms: status.latencyMs,
      age_ms: status.lastSuccessAt === null ? null : Math.max(0, nowMs - status.lastSuccessAt),
      since: null
    }
  })
}

function codeOf(report: ExchangeReport): string | null {
  const { circuit, lastSuccessAt, lastErrorAt, lastErrorCode, blockedForMs, invalidRows } = report
  if (circuit !== 'closed') return 'circuit_open'
  if (blockedForMs > 0) return 'rate_limited'
  if ((lastErrorAt ?? 0) > (lastSuccessAt ?? 0)) return lastErrorCode
  if (invalidRows > 0) return 'invalid_answer'
  return lastSuccessAt === null ? 'no_answer' : null
}
