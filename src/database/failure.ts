/**
 * Why the database cannot be used, as probes report it:
 * - `database_unreachable`: nothing answers at its address, or the connection broke
 * - `database_timeout`: it did not answer within the deadline
 * - `database_refused`: it answered and refused the session
 */
export type DatabaseFailure = 'database_unreachable' | 'database_timeout' | 'database_refused'

/** The database cannot be used right now. `code` is the closed reason, `cause` what was seen. */
export class DatabaseUnavailableError extends Error {
  override name = 'DatabaseUnavailableError'
  readonly code: DatabaseFailure

  constructor(code: DatabaseFailure, cause?: unknown) {
    super(code, { cause })
    this.code = code
  }
}

/**
 * No host accepted a connection. `code`: `ETIMEDOUT`, `TLS_REFUSED` (the server has no TLS), `UNSUITABLE` (no host has
 * the wanted session attributes), `CLOSED` (the client is closed), or the code of the socket's or TLS' error.
 */
export class ConnectError extends Error {
  override name = 'ConnectError'
  readonly code: string

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }

  /** Wraps the error of a socket; a `ConnectError` is returned as it is. */
  static from(err: unknown): ConnectError {
    if (err instanceof ConnectError) return err
    return new ConnectError(codeOf(err), 'the database does not accept a connection', { cause: err })
  }
}

/** Deadlines of ours, of a connection attempt, and of the server: of a statement, and of its wait for a lock. */
const timeouts = new Set(['DEADLINE', 'ETIMEDOUT', 'CONNECT_TIMEOUT', '57014', '55P03'])

/** SQLSTATE with which the server ends a session that was in use: shutdown, crash, and its limits on idle sessions. */
const sessionEnds = new Set(['57P01', '57P02', '57P05', '25P03', '25P04'])

/** The server answered and there is no usable session: no TLS, other attributes, a certificate that is not accepted. */
const connectRefusals =
  /^(TLS_REFUSED|UNSUITABLE|ERR_(TLS|SSL)_|CERT_|CRL_|DEPTH_|HOSTNAME_|INVALID_|PATH_|SELF_SIGNED_|UNABLE_TO_)/

/** Codes of a connection that broke: of the system, of Node's sockets and TLS, of the driver. */
const brokenConnection = /^(E[A-Z]+|ERR_(SOCKET|SSL|STREAM|TLS)_[A-Z_]+|CONNECTION_[A-Z]+|SASL_[A-Z_]+)$/

/** SQLSTATE classes and codes with which a server refuses a session: authorisation, catalogue, resources, start-up. */
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
  if (isServerError(err)) return sessionEnds.has(code) ? 'database_unreachable' : 'database_refused'
  if (err instanceof ConnectError && connectRefusals.test(code)) return 'database_refused'
  return 'database_unreachable'
}

/**
 * Separates an unusable database from a statement that failed.
 * @returns a `DatabaseUnavailableError` for the former; the latter (a constraint, a syntax error, an error of our own
 * code) is returned as it is
 */
export function asUnavailable(err: unknown): unknown {
  if (err instanceof DatabaseUnavailableError) return err
  const code = codeOf(err)
  const unusable = isServerError(err)
    ? timeouts.has(code) || sessionEnds.has(code) || refusals.test(code)
    : err instanceof ConnectError || timeouts.has(code) || brokenConnection.test(code)
  return unusable ? new DatabaseUnavailableError(failureOf(err), err) : err
}
