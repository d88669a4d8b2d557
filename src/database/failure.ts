/**
 * Why the database cannot be used, as probes say it:
 * - `database_unreachable`: nobody answers at its address, or the connection broke
 * - `database_timeout`: it did not answer within the deadline
 * - `database_refused`: it answered, and would not serve us
 */
export type DatabaseFailure = 'database_unreachable' | 'database_timeout' | 'database_refused'

/** A call missed its deadline. The statement may still take effect: repeat only what is idempotent. */
export class DeadlineError extends Error {
  override name = 'DeadlineError'
  readonly code = 'DEADLINE'
}

/** The database cannot be used right now. `code` is the closed reason, `cause` what was seen. */
export class DatabaseUnavailableError extends Error {
  override name = 'DatabaseUnavailableError'
  readonly code: DatabaseFailure

  constructor(code: DatabaseFailure, cause?: unknown) {
    super(code, { cause })
    this.code = code
  }
}

const timeouts = new Set(['DEADLINE', 'ETIMEDOUT', 'CONNECT_TIMEOUT'])

/** SQLSTATE of a server that ends our session because it goes away: for us the connection broke. */
const goodbyes = new Set(['57P01', '57P02'])

/** SQLSTATE classes (and codes) with which a server turns a session away: authorisation, catalogue, resources, start-up. */
const refusals = /^(28|3D|08P01|53300|53400|57P03|58000)/

function codeOf(err: unknown): string {
  return typeof err === 'object' && err !== null && 'code' in err ? String(err.code) : ''
}

/** Whether an error came from the server itself, as an answer in its protocol. */
export function isServerError(err: unknown): boolean {
  return err instanceof Error && err.name === 'PostgresError'
}

/** Names the failure of a health check: every error is a reason to call the database unusable. */
export function failureOf(err: unknown): DatabaseFailure {
  const code = codeOf(err)
  if (timeouts.has(code)) return 'database_timeout'
  if (isServerError(err)) return goodbyes.has(code) ? 'database_unreachable' : 'database_refused'
  return 'database_unreachable'
}

/**
 * Tells an unusable database from a statement that failed: the former becomes a `DatabaseUnavailableError`,
 * the latter (a constraint, a syntax error, our own code's error) is handed back as it is.
 */
export function asUnavailable(err: unknown): unknown {
  const code = codeOf(err)
  const unusable = isServerError(err)
    ? goodbyes.has(code) || refusals.test(code)
    : timeouts.has(code) || /^(E[A-Z]+|CONNECTION_[A-Z]+)$/.test(code)
  return unusable ? new DatabaseUnavailableError(failureOf(err), err) : err
}
