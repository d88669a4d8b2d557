/** Settings of a session that its role or its database may have set otherwise, with what this service needs. */
type Settings = Readonly<Record<string, string>>

/**
 * Sent when a session starts, in every case: pgbouncer keeps them separate for each client in its default
 * configuration. Times are read in this format only.
 */
export const POOLED_SETTINGS: Settings = { DateStyle: 'ISO, MDY', TimeZone: 'UTC' }

/**
 * Sent when a session starts, unless a pooler or an older server refuses them: then a start reports those that differ.
 * The deadlines of the service bound its statements.
 */
export const DIRECT_SETTINGS: Settings = {
  IntervalStyle: 'postgres',
  bytea_output: 'hex',
  statement_timeout: '0',
  lock_timeout: '0',
  idle_session_timeout: '0',
  idle_in_transaction_session_timeout: '0',
  default_transaction_isolation: 'read committed'
}

/**
 * Whether bytes of a server are its refusal of a parameter of the start: of pgbouncer (`unsupported startup parameter`),
 * or of a server that does not know it (`unrecognized configuration parameter`).
 */
export function isRefusedParameter(bytes: Buffer): boolean {
  return (
    bytes[0] === 'E'.charCodeAt(0) &&
    /unsupported startup parameter|unrecognized configuration parameter/.test(bytes.toString('latin1'))
  )
}
