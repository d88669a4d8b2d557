import type { BaseLogger } from 'pino'

/** The part of a logger that `src/` uses: object first, then a fixed lower-case message. */
export type Log = Pick<BaseLogger, 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal'> & {
  /** A logger that adds these fields to every line. */
  child(bindings: Record<string, unknown>): Log
}
