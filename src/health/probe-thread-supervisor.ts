import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { sourceDir } from '../locations.ts'
import type { Log } from '../log/log.ts'
import { portError } from '../start-error.ts'
import { ProbeDurations } from './probe-durations.ts'
import { type DatabaseState, monotonicMs, type SharedState } from './shared-state.ts'
import { type FromThread, REFRESH_GRACE_MS, type ThreadSettings, type ToThread } from './thread-messages.ts'
import { FRESH_MS } from './verdict.ts'

const HEARTBEAT_MS = 100
const CLOSE_TIMEOUT_MS = 2_000
const RESTART_MIN_MS = 100
const RESTART_MAX_MS = 5_000
/** After a thread that ran this long, the back-off starts again at its minimum, in milliseconds. */
const STABLE_MS = 60_000

export interface ProbeThreadSupervisorOptions {
  state: SharedState
  settings: Omit<ThreadSettings, 'state' | 'durations'>
  log: Log
  /** The state of the database changed. */
  onTransition: (from: DatabaseState, to: DatabaseState) => void
}

/**
 * Runs the probe thread from the main thread: starts it, starts it again with back-off when it ends unexpectedly, sends
 * it messages, writes the heartbeat of the main loop, and closes it.
 */
export class ProbeThreadSupervisor {
  /** The durations of the answers of both ports. They are kept when the thread is started again. */
  readonly durations = new ProbeDurations()
  readonly #options: ProbeThreadSupervisorOptions
  #settings: Omit<ThreadSettings, 'state' | 'durations'>
  #worker: Worker | undefined
  #url: string | undefined
  #heartbeat: NodeJS.Timeout | undefined
  #restart: NodeJS.Timeout | undefined
  #restartMs = RESTART_MIN_MS
  #closing = false
  #restarts = 0
  #refreshing: { promise: Promise<void>; resolve: () => void } | undefined
  #listening: { resolve: (port: number | undefined) => void; reject: (err: Error) => void } | undefined

  constructor(options: ProbeThreadSupervisorOptions) {
    this.#options = options
    this.#settings = options.settings
  }

  /** How often the thread was started again. */
  get restarts(): number {
    return this.#restarts
  }

  /**
   * Starts the thread. Call it once.
   * @returns the port that it listens on; undefined when the port is `off`
   * @throws {StartError} when it cannot listen on the port; it is not started again then
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

  /** Sends the thread the address of the database. A thread that is started later gets it too. */
  setDatabase(url: string): void {
    this.#url = url
    this.#post({ type: 'database', url })
  }

  /** Whether the verdict can be used without `refresh`: it is fresh, or the database is known to be unresponsive. */
  isFresh(): boolean {
    return this.#options.state.isDatabaseFresh(FRESH_MS)
  }

  /**
   * Has the thread refresh the verdict: one message for all concurrent callers. Resolves when it is done, at the latest
   * a moment after the deadline of a check. Never rejects.
   */
  refresh(): Promise<void> {
    if (this.#refreshing) return this.#refreshing.promise
    let end: () => void = () => undefined
    const promise = new Promise<void>(resolve => {
      const timer = setTimeout(() => end(), this.#settings.checkTimeoutMs + REFRESH_GRACE_MS)
      end = () => {
        clearTimeout(timer)
        this.#refreshing = undefined
        resolve()
      }
    })
    this.#refreshing = { promise, resolve: end }
    this.#post({ type: 'refresh' })
    return promise
  }

  /** Ends the thread as a fault would, for tests; it is started again. */
  kill(): void {
    void this.#worker?.terminate()
  }

  /** Closes the thread by a message, and terminates it when it does not exit in time. Idempotent. */
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
    const startedMs = monotonicMs()
    let worker: Worker
    try {
      worker = this.#createWorker()
    } catch (err) {
      // No descriptor or thread is free. This may run in a timer, where an error would end the process.
      this.#options.log.error({ err, restart_ms: this.#restartMs }, 'probe thread not started')
      this.#restartLater()
      return
    }
    this.#worker = worker
    worker.on('message', (message: FromThread) => this.#receive(message))
    worker.on('error', err => this.#options.log.error({ err }, 'probe thread failed'))
    worker.once('exit', code => {
      this.#worker = undefined
      this.#refreshing?.resolve()
      if (this.#closing) return
      if (monotonicMs() - startedMs > STABLE_MS) this.#restartMs = RESTART_MIN_MS
      this.#options.log.error({ code, restart_ms: this.#restartMs }, 'probe thread ended')
      this.#restartLater()
    })
    if (this.#url !== undefined) this.setDatabase(this.#url)
  }

  #createWorker(): Worker {
    return new Worker(join(sourceDir, 'health/probe-thread.js'), {
      name: 'probe',
      workerData: { ...this.#settings, state: this.#options.state.buffer, durations: this.durations.buffer },
      // No secret of the environment is passed to the thread.
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

  #receive(message: FromThread): void {
    if (message.type === 'refreshed') this.#refreshing?.resolve()
    else if (message.type === 'transition') this.#options.onTransition(message.from, message.to)
    else if (message.type === 'listening') {
      // A thread that is started again must listen on the same port.
      if (message.port !== undefined) this.#settings = { ...this.#settings, port: message.port }
      this.#listening?.resolve(message.port)
      this.#listening = undefined
    } else {
      this.#failToListen(message.code)
    }
  }

  /** The first thread ends the start of the service. One that is started again tries until the port is free. */
  #failToListen(code: string): void {
    const { host, port } = this.#settings
    const isFirst = this.#listening !== undefined
    if (isFirst) this.#closing = true
    else this.#options.log.error({ code }, 'probe port not open')
    this.#listening?.reject(portError({ setting: 'PROBE_PORT', port: Number(port), hostSetting: 'HOST', host }, code))
    void this.#worker?.terminate()
  }
}
