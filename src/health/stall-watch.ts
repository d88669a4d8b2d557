import type { Session } from 'node:inspector'
import type { Log } from '../log/log.ts'
import type { SharedState } from './shared-state.ts'
import { HEARTBEAT_LIMIT_MS } from './verdict.ts'

const POLL_MS = 250
/** How many frames of the main thread's stack are logged. */
const FRAMES = 8

export interface StallWatchOptions {
  state: SharedState
  log: Log
  /** The age of the heartbeat from which liveness fails, in milliseconds. */
  stallMs: number
}

interface CallFrame {
  functionName: string
  url: string
  location: { lineNumber: number }
}

/**
 * Polls the heartbeat of the main loop from the probe thread. It logs when a stall begins, when liveness fails because
 * of it, and when it ends, with its duration. At the beginning it pauses the main thread once, by the inspector, to log
 * its stack; the main thread is blocked at that time, so the short pause does no harm.
 */
export class StallWatch {
  readonly #options: StallWatchOptions
  #timer: NodeJS.Timeout | undefined
  #longestMs = 0
  #livenessReported = false
  #session: Session | undefined

  constructor(options: StallWatchOptions) {
    this.#options = options
  }

  start(): void {
    this.#timer = setInterval(() => this.#poll(), POLL_MS)
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#endInspection()
  }

  #poll(): void {
    const { state, log, stallMs } = this.#options
    const { heartbeatAgeMs } = state.snapshot()
    if (heartbeatAgeMs > HEARTBEAT_LIMIT_MS) {
      if (this.#longestMs === 0) {
        log.warn({ stalled_ms: heartbeatAgeMs }, 'main loop blocked')
        void this.#inspect()
      }
      this.#longestMs = heartbeatAgeMs
      if (heartbeatAgeMs >= stallMs && !this.#livenessReported) {
        this.#livenessReported = true
        log.error({ stalled_ms: heartbeatAgeMs }, 'main loop blocked for too long, liveness fails')
      }
    } else if (this.#longestMs > 0) {
      log.warn({ stalled_ms: this.#longestMs }, 'main loop unblocked')
      this.#longestMs = 0
      this.#livenessReported = false
      this.#endInspection()
    }
  }

  /** Logs the stack of the main thread. `#endInspection` ends it, at the latest when the stall is over. */
  async #inspect(): Promise<void> {
    try {
      const { Session } = await import('node:inspector')
      if (this.#longestMs === 0 || this.#session) return
      const session = new Session()
      this.#session = session
      session.connectToMainThread()
      session.once('Debugger.paused', ({ params }: { params: { callFrames: CallFrame[] } }) => {
        // After the end the session is disconnected, and its calls would throw.
        if (this.#session !== session) return
        session.post('Debugger.resume')
        this.#options.log.warn({ running: params.callFrames.slice(0, FRAMES).map(frameText) }, 'main loop stack')
        this.#endInspection()
      })
      session.post('Debugger.enable')
      session.post('Debugger.pause')
    } catch (err) {
      this.#options.log.debug({ err }, 'main thread not inspected')
      this.#endInspection()
    }
  }

  /** Ends the inspector session; a main thread that it has paused continues. Idempotent. */
  #endInspection(): void {
    this.#session?.disconnect()
    this.#session = undefined
  }
}

function frameText({ functionName, url, location }: CallFrame): string {
  return `${functionName || '(anonymous)'} ${url}:${location.lineNumber + 1}`
}
