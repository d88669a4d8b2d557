import type { DatabaseState } from './shared-state.ts'

/** How much longer than the deadline of a check a probe waits for its result, in milliseconds. */
export const REFRESH_GRACE_MS = 150

/** The settings of the probe thread. They have no secret: the database address is sent by message. */
export interface ThreadSettings {
  state: SharedArrayBuffer
  /** The memory of its `ProbeDurations`. */
  durations: SharedArrayBuffer
  /** The memory of its `ConnectionCounts`. */
  connectionCounts: SharedArrayBuffer
  /** Connections that the server may have. */
  maxConnections: number
  host: string
  /** 0 for any free port; `off` for no server. */
  port: number | 'off'
  keepAliveMs: number
  service: string
  applicationName: string
  checkTimeoutMs: number
  stallMs: number
  log: { level: string; bindings: Record<string, unknown> }
}

/** Messages from the main thread to the probe thread. */
export type ToThread =
  /** A probe on the main port needs a fresh verdict: answered with `refreshed`. */
  | { type: 'refresh' }
  /** The address of the database: start the checks. */
  | { type: 'database'; url: string }
  /** Close the server and the connection, and exit. */
  | { type: 'close' }

/** Messages from the probe thread to the main thread. */
export type FromThread =
  | { type: 'refreshed' }
  | { type: 'transition'; from: DatabaseState; to: DatabaseState }
  | { type: 'listening'; port: number | undefined }
  /** The server could not listen; `code` is the system's error code. */
  | { type: 'failed'; code: string }
