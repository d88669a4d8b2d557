/** What of a JSON schema an example is made from. */
export interface Schema {
  type?: string
  const?: unknown
  enum?: readonly unknown[]
  examples?: readonly unknown[]
  default?: unknown
  anyOf?: readonly Schema[]
  properties?: Readonly<Record<string, Schema>>
  required?: readonly string[]
  items?: Schema
  format?: string
  minimum?: number
}

const TEXTS: Readonly<Record<string, string>> = {
  'date-time': '2026-11-23T12:00:00.000Z',
  date: '2026-11-22',
  uuid: '0199e3a0-5c1b-7d2e-9f40-3b6a8c2d1e5f'
}

/** What the API's fields hold, by their names: one meaning each, whichever route they belong to. */
const FIELDS: Readonly<Record<string, unknown>> = {
  account: 'main',
  action: 'POST /api/system/trigger-job',
  actor: 'ops',
  address: '192.0.2.10',
  age_ms: 87,
  audit_id: '4211',
  before: '4211',
  by: 'ops',
  delay_ms: 1.4,
  done: 3,
  duration_ms: 812,
  exchange: 'BINANCE',
  id: 'housekeeping',
  instance: 'trading-health-7f9c-a1b2c3d4',
  job_id: 'housekeeping',
  job_type: 'housekeeping',
  jobs_count: 7,
  latency_ms: 0.6,
  limit: 50,
  market_type: 'FUTURES',
  message: '작업 완료',
  name: 'Housekeeping',
  new_password: 'correct horse battery staple',
  next_before: '4161',
  password: 'battery horse staple',
  current_password: 'battery horse staple',
  reason: 'exchange maintenance',
  request_id: 'k3J9xQ2a-1f',
  restarts: 0,
  service: 'trading-system',
  symbol: 'BTCUSDT',
  target: 'housekeeping',
  total: 6,
  username: 'ops',
  utilization: 0.03,
  version: '0.1.0'
}

export interface ExampleOptions {
  /** The field that it is for. */
  name?: string
  /** Whether objects show their optional fields. */
  whole?: boolean
}

/**
 * Makes a value that a schema takes: its own example where it has one, else one for a field of that name, else the
 * plainest. A test holds every example of the document against its schema.
 */
export function exampleOf(schema: Schema, { name = '', whole = false }: ExampleOptions = {}): unknown {
  if (schema.examples) return schema.examples[0]
  if (schema.const !== undefined) return schema.const
  if (schema.enum) return schema.enum[0]
  if (schema.default !== undefined) return schema.default
  if (schema.anyOf) return exampleOf(schema.anyOf[0] ?? {}, { name, whole })
  switch (schema.type) {
    case 'object':
      return Object.fromEntries(
        Object.entries(schema.properties ?? {})
          .filter(([name]) => whole || schema.required?.includes(name))
          .map(([name, of]) => [name, exampleOf(of, { name, whole })])
      )
    case 'array':
      return schema.items ? [exampleOf(schema.items, { name, whole })] : []
    case 'string':
      return TEXTS[schema.format ?? ''] ?? FIELDS[name] ?? 'text'
    case 'integer':
    case 'number':
      return FIELDS[name] ?? Math.max(1, schema.minimum ?? 1)
    case 'boolean':
      return name === 'success' || name === 'wait'
    default:
      return null
  }
}
