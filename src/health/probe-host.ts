import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { sourceDir } from '../locations.ts'
import type { Log } from '../log/log.ts'
import { ProbeTally } from './probe-tally.ts'
import { type DatabaseState, monotonicMs, type SharedState } from './state.ts'
import type { FromThread, ThreadSettings, ToThread } from './thread-messages.ts'
import { FRESH_MS } from './verdict.ts'

const HEARTBEAT_MS = 100
/** How much longer than the check itself a probe waits for the thread's word, in milliseconds. */
const ASK_GRACE_MS = 100
const CLOSE_TIMEOUT_MS = 2_000
const RESTART_MIN_MS = 100
const RESTART_MAX_MS = 5_000
/** A thread that lived this long starts its back-off anew, in milliseconds. */
const SETTLED_MS = 60_000

export interface ProbeHostOptions {
  state: SharedState
  settings: Omit<ThreadSettings, 'state' | 'tally'>
  log: Log
  /** The state of the database changed. */
  onTransition: (from: DatabaseState, to: DatabaseState) => void
}

/** The probe thread could not listen. The message is for the operator. */
export class ProbePortError extends Error {
  override name = 'ProbePortError'
}

/**
 * The main thread's side of the probe thread: starts it, beats for it, asks it, starts it again with back-off when it
 * dies, and ends it.
 */
export class ProbeHost {
  /** The answers of both ports; it outlives the thread. */
  readonly tally = new ProbeTally()
  readonly #options: ProbeHostOptions
  #settings: Omit<ThreadSettings, 'state' | 'tally'>
  #worker: Worker | undefined
  #url: string | undefined
  #heartbeat: NodeJS.Timeout | undefined
  #restart: NodeJS.Timeout | undefined
  #restartMs = RESTART_MIN_MS
  #closing = false
  #restarts = 0
  #asked: { promise: Promise<void>; settle: () => void } | undefined
  #listening: { resolve: (port: number | undefined) => void; reject: (err: Error) => void } | undefined

  constructor(options: ProbeHostOptions) {
    this.#options = options
    this.#settings = options.settings
  }

  /** How often the thread was started again. */
  get restarts(): number {
    return this.#restarts
  }

  /**
   * Starts the thread.
   * @returns the port that it listens on, undefined where it is turned off
   * @throws {ProbePortError} when it cannot listen there
   */
  start(): Promise<number | undefined> {
    const { state } = this.#options
    state.beat()
    this.#heartbeat = setInterval(() => state.beat(), HEARTBEAT_MS).unref()
    const listening = new Promise<number | undefined>((resolve, reject) => {
      this.#listening = { resolve, reject }
    })
    this.#spawn()
    return listening
  }

  /** Tells the thread where the database is. */
  setDatabase(url: string): void {
    this.#url = url
    this.#post({ type: 'database', url })
  }

  /**
   * Whether the verdict can be used as it stands: it is fresh, or the database is known to be mute and the thread goes
   * on trying.
   */
  isFresh(): boolean {
    return this.#options.state.isDatabaseFresh(FRESH_MS)
  }

  /** Asks the thread for a fresh verdict: one message for all that wait. Settles in bounded time, never rejects. */
  ask(): Promise<void> {
    if (this.#asked) return this.#asked.promise
    let settle: () => void = () => undefined
    const promise = new Promise<void>(resolve => {
      const timer = setTimeout(() => settle(), this.#settings.checkTimeoutMs + ASK_GRACE_MS)
      settle = () => {
        clearTimeout(timer)
        this.#asked = undefined
        resolve()
      }
    })
    this.#asked = { promise, settle }
    this.#post({ type: 'ask' })
    return promise
  }

  /** Ends the thread as a fault would; it is started again. */
  kill(): void {
    void this.#worker?.terminate()
  }

  /** Ends the thread: first by asking, then by force. Idempotent. */
  async close(): Promise<void> {
    this.#closing = true
    clearInterval(this.#heartbeat)
    clearTimeout(this.#restart)
    const worker = this.#worker
    if (!worker) return
    await new Promise<void>(resolve => {
      const timer = setTimeout(() => void worker.terminate(), CLOSE_TIMEOUT_MS)
      worker.once('exit', () => {
        clearTimeout(timer)
        resolve()
      })
      this.#post({ type: 'close' })
    })
  }

  #post(message: ToThread): void {
    this.#worker?.postMessage(message)
  }

  #spawn(): void {
    const born = monotonicMs()
    let worker: Worker
    try {
      worker = this.#createWorker()
    } catch (err) {
      // Without a free descriptor or thread: this runs in a timer, where an error would end the process.
      this.#options.log.error({ err, restart_ms: this.#restartMs }, 'probe thread not started')
      this.#restartLater()
      return
    }
    this.#worker = worker
    worker.on('message', (message: FromThread) => this.#hear(message))
    worker.on('error', err => this.#options.log.error({ err }, 'probe thread failed'))
    worker.once('exit', code => {
      this.#worker = undefined
      this.#asked?.settle()
      if (this.#closing) return
      if (monotonicMs() - born > SETTLED_MS) this.#restartMs = RESTART_MIN_MS
      this.#options.log.error({ code, restart_ms: this.#restartMs }, 'probe thread ended')
      this.#restartLater()
    })
    if (this.#url !== undefined) this.setDatabase(this.#url)
  }

  #createWorker(): Worker {
    return new Worker(join(sourceDir, 'health/probe-thread.js'), {
      name: 'probe',
      workerData: { ...this.#settings, state: this.#options.state.buffer, tally: this.tally.buffer },
      // The thread needs no secret of the environment.
      env: {},
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 4, codeRangeSizeMb: 16 }
    })
  }

  #restartLater(): void {
    this.#restart = setTimeout(() => {
      this.#restarts++
      this.#spawn()
    }, this.#restartMs)
    this.#restartMs = Math.min(this.#restartMs * 2, RESTART_MAX_MS)
  }

  #hear(message: FromThread): void {
    if (message.type === 'verdict') this.#asked?.settle()
    else if (message.type === 'transition') this.#options.onTransition(message.from, message.to)
    else if (message.type === 'listening') {
      // A thread that is started again must come back to the port that was found for it.
      if (message.port !== undefined) this.#settings = { ...this.#settings, port: message.port }
      this.#listening?.resolve(message.port)
    } else {
      const { host, port } = this.#settings
      const err = new ProbePortError(`the probe port ${host}:${port} cannot be listened on: ${message.code}`)
      this.#options.log.error({ code: message.code }, 'probe port not open')
      this.#listening?.reject(err)
      void this.#worker?.terminate()
    }
  }
}
