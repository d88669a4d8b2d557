import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { ServiceError } from '../errors.ts'
import { sourceDir } from '../locations.ts'
import type { PasswordResult, PasswordTask } from './password-thread.ts'

export const PASSWORD_MIN = 8
export const PASSWORD_MAX = 256

/** Passwords that may wait for the one thread; more are turned away. */
const MAX_WAITING = 64
/** The thread and its memory are let go when nobody signed in for this long, in milliseconds. */
const IDLE_MS = 30_000

/**
 * The hash of no password: verified for a name that does not exist, so that the answer takes as long.
 * Same parameters as the real ones.
 */
const NOBODY = '$argon2id$v=19$m=19456,t=2,p=1$AQEBAQEBAQEBAQEBAQEBAQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'

interface Waiting {
  resolve: (result: PasswordResult) => void
  reject: (err: Error) => void
}

/** Hashes and verifies passwords in a thread of its own, one after the other, with a bounded queue. */
export class Passwords {
  #worker: Worker | undefined
  #idle: NodeJS.Timeout | undefined
  #lastId = 0
  readonly #waiting = new Map<number, Waiting>()

  /** @throws {ServiceError} OVERLOADED when too many wait */
  async hash(password: string): Promise<string> {
    const { hash } = await this.#run({ password })
    if (hash === undefined) throw new Error('the password was not hashed')
    return hash
  }

  /**
   * Whether a password fits a hash. Without a hash the answer is no, after the same work.
   * @throws {ServiceError} OVERLOADED when too many wait
   */
  async verify(password: string, hash: string | undefined): Promise<boolean> {
    const { matches = false } = await this.#run({ password, hash: hash ?? NOBODY })
    return matches && hash !== undefined
  }

  /** Ends the thread; what waits is rejected. Idempotent. */
  async close(): Promise<void> {
    clearTimeout(this.#idle)
    await this.#worker?.terminate()
  }

  #run(task: Omit<PasswordTask, 'id'>): Promise<PasswordResult> {
    if (this.#waiting.size >= MAX_WAITING) {
      return Promise.reject(new ServiceError('OVERLOADED', { headers: { 'retry-after': '5' } }))
    }
    clearTimeout(this.#idle)
    const id = ++this.#lastId
    return new Promise<PasswordResult>((resolve, reject) => {
      // May throw, without a free descriptor or thread: then this promise rejects and nothing waits.
      const worker = this.#thread()
      this.#waiting.set(id, { resolve, reject })
      // It keeps the process alive for as long as somebody waits for it, no longer.
      worker.ref()
      worker.postMessage({ id, ...task })
    })
  }

  #thread(): Worker {
    if (this.#worker) return this.#worker
    const worker = new Worker(join(sourceDir, 'auth/password-thread.js'), { name: 'passwords', env: {}, execArgv: [] })
    worker.on('message', (result: PasswordResult) => {
      const waiting = this.#waiting.get(result.id)
      this.#waiting.delete(result.id)
      if (result.failed) waiting?.reject(new Error('the password was not processed'))
      else waiting?.resolve(result)
      if (this.#waiting.size > 0) return
      worker.unref()
      this.#idle = setTimeout(() => {
        // Given up at once: whoever comes while it ends gets a thread of their own.
        this.#worker = undefined
        void worker.terminate()
      }, IDLE_MS).unref()
    })
    worker.once('error', () => worker.terminate())
    worker.once('exit', () => {
      if (this.#worker !== worker) return
      this.#worker = undefined
      for (const { reject } of this.#waiting.values()) reject(new Error('the password thread ended'))
      this.#waiting.clear()
    })
    this.#worker = worker
    return worker
  }
}
