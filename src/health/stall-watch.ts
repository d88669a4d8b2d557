import type { Session } from 'node:inspector'
import type { Log } from '../log/log.ts'
import type { SharedState } from './state.ts'
import { HEARTBEAT_LIMIT_MS } from './verdict.ts'

const LOOK_MS = 250
/** Frames of the main thread's stack that are logged. */
const FRAMES = 8

export interface StallWatchOptions {
  state: SharedState
  log: Log
  /** From here on liveness fails, in milliseconds. */
  stallMs: number
}

interface CallFrame {
  functionName: string
  url: string
  location: { lineNumber: number }
}

/**
 * Watches the heartbeat of the main loop from the probe thread and logs when a stall begins, when it makes liveness
 * fail, and when it ends, with its length. At the beginning it interrupts the main thread once, by the inspector, to
 * read what is running; that costs the main thread a moment of a stall it is in anyway.
 */
export class StallWatch {
  readonly #options: StallWatchOptions
  #timer: NodeJS.Timeout | undefined
  #longestMs = 0
  #toldLiveness = false
  #session: Session | undefined

  constructor(options: StallWatchOptions) {
    this.#options = options
  }

  start(): void {
    this.#timer = setInterval(() => this.#look(), LOOK_MS)
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#endInspection()
  }

  #look(): void {
    const { state, log, stallMs } = this.#options
    const { heartbeatAgeMs } = state.snapshot()
    if (heartbeatAgeMs > HEARTBEAT_LIMIT_MS) {
      if (this.#longestMs === 0) {
        log.warn({ stalled_ms: heartbeatAgeMs }, 'main loop blocked')
        void this.#inspect()
      }
      this.#longestMs = heartbeatAgeMs
      if (heartbeatAgeMs >= stallMs && !this.#toldLiveness) {
        this.#toldLiveness = true
        log.error({ stalled_ms: heartbeatAgeMs }, 'main loop blocked for too long, liveness fails')
      }
    } else if (this.#longestMs > 0) {
      log.warn({ stalled_ms: this.#longestMs }, 'main loop unblocked')
      this.#longestMs = 0
      this.#toldLiveness = false
      this.#endInspection()
    }
  }

  /** Reads the stack of the main thread. Ended by `#endInspection` at the latest when the stall is over. */
  async #inspect(): Promise<void> {
    try {
      const { Session } = await import('node:inspector')
      if (this.#longestMs === 0 || this.#session) return
      const session = new Session()
      this.#session = session
      session.connectToMainThread()
      session.once('Debugger.paused', ({ params }: { params: { callFrames: CallFrame[] } }) => {
        // Ended meanwhile: the session is disconnected and its calls would throw.
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

  /** Ends the session; a main thread that is paused by it continues. */
  #endInspection(): void {
    this.#session?.disconnect()
    this.#session = undefined
  }
}

function frameText({ functionName, url, location }: CallFrame): string {
  return `${functionName || '(anonymous)'} ${url}:${location.lineNumber + 1}`
}
