/** Why the database cannot be used, in the order in which probes report it. */
export const DATABASE_FAILURES = [
  /** Tables or columns that this version needs are missing. */
  'schema_incompatible',
  /** Nothing answers at its address, or the connection broke. */
  'database_unreachable',
  /** It did not answer within the deadline. */
  'database_timeout',
  /** It answered and refused the session. */
  'database_refused',
  /** It answers and rejects writes: a standby, or a read-only default. */
  'database_read_only',
  /** It answers and cannot execute statements: a full disk, lost files, a defect. */
  'database_failing'
] as const

export type DatabaseFailure = (typeof DATABASE_FAILURES)[number]

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
const refusals = /^(28|3D|08P01|53300|53400|57P0[34]|58000)/

/** SQLSTATE of a write on a server, or in a transaction, that is read-only. */
const readOnly = new Set(['25006'])

/**
 * SQLSTATE of a statement of ours whose table, column, function, type or schema does not exist: the schema is not that
 * of this version.
 */
const missingObjects = new Set(['42P01', '42703', '42883', '42704', '3F000'])

/**
 * SQLSTATE classes and codes of a server that cannot execute statements: no disk space, no memory, files that it cannot
 * read, damaged data, a defect, missing rights on a table.
 */
const failures = /^(53100|53200|58|XX|42501)/

function codeOf(err: unknown): string {
  return typeof err === 'object' && err !== null && 'code' in err ? String(err.code) : ''
}

/** Whether an error came from the server itself, as an answer in its protocol. */
export function isServerError(err: unknown): boolean {
  return err instanceof Error && err.name === 'PostgresError'
}

/** The failure that an error of the server means; undefined for an error of the statement alone. */
function serverFailure(err: unknown): DatabaseFailure | undefined {
  const code = codeOf(err)
  if (timeouts.has(code)) return 'database_timeout'
  if (sessionEnds.has(code)) return 'database_unreachable'
  if (readOnly.has(code)) return 'database_read_only'
  if (missingObjects.has(code)) return 'schema_incompatible'
  // A FATAL error ends the session, or refuses it: there is no session in which statements could fail.
  const isFatal = err instanceof Error && 'severity' in err && err.severity === 'FATAL'
  if (refusals.test(code) || (isFatal && failures.test(code))) return 'database_refused'
  return failures.test(code) ? 'database_failing' : undefined
}

/** Names the failure of a health check: every error is a reason to call the database unusable. */
export function failureOf(err: unknown): DatabaseFailure {
  if (isServerError(err)) return serverFailure(err) ?? 'database_refused'
  const code = codeOf(err)
  if (timeouts.has(code)) return 'database_timeout'
  return err instanceof ConnectError && connectRefusals.test(code) ? 'database_refused' : 'database_unreachable'
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
    ? serverFailure(err) !== undefined
    : err instanceof ConnectError || timeouts.has(code) || brokenConnection.test(code)
  return unusable ? new DatabaseUnavailableError(failureOf(err), err) : err
}

/**
 * Whether an error is an answer of the server that says that it cannot do what this replica needs, so that another
 * replica, or a later attempt, may succeed. Not a connection that broke: the health check finds that itself.
 */
export function isServerFailure(err: unknown): boolean {
  return isServerError(err) && serverFailure(err) !== undefined
}
