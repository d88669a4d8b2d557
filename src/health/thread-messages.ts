import type { DatabaseState } from './state.ts'

/** What the probe thread is given when it begins. No secret but the database address, which comes by message. */
export interface ThreadSettings {
  state: SharedArrayBuffer
  /** Where it counts its answers. */
  tally: SharedArrayBuffer
  /** Address and port of its server; without a port it only checks. */
  host: string
  port: number | 'off'
  service: string
  applicationName: string
  checkTimeoutMs: number
  stallMs: number
  log: { level: string; bindings: Record<string, unknown> }
}

/** What the main thread asks of the probe thread. */
export type ToThread =
  /** A probe on the main port wants a fresh verdict: answered with `verdict`. */
  | { type: 'ask' }
  /** Here is the database: begin to check. */
  | { type: 'database'; url: string }
  /** Close the server and the connection, and end. */
  | { type: 'close' }

/** What the probe thread tells the main thread. */
export type FromThread =
  | { type: 'verdict' }
  | { type: 'transition'; from: DatabaseState; to: DatabaseState }
  | { type: 'listening'; port: number | undefined }
  /** The server could not listen; `code` is the system's. */
  | { type: 'failed'; code: string }
