import type { BaseLogger } from 'pino'

/** What the deciding code needs of a logger: object first, then a fixed lower-case message. */
export type Log = Pick<BaseLogger, 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal'> & {
  /** A logger whose every line has these, too. */
  child(bindings: Record<string, unknown>): Log
}
