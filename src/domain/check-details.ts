// @FEAT:health-monitoring @COMP:service @TYPE:core

/** One health check, in the field names of the JSON answer. Times in milliseconds; null when a value does not apply. */
export interface CheckDetails {
  name: string
  /** `degraded`: the service works with restrictions. A check itself never takes a replica out of service. */
  status: 'ok' | 'degraded' | 'failed'
  /** The reason; also set with `ok`, where an unused function is not configured. */
  code: string | null
  latency_ms: number | null
  /** The age of what the check is based on. */
  age_ms: number | null
  /** When the status last changed: ISO 8601, UTC. */
  since: string | null
}
