import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { ServiceError } from '../errors.ts'
import { sourceDir } from '../locations.ts'
import type { PasswordResult, PasswordTask } from './password-thread.ts'
import type { Weakness } from './weak-password.ts'

/** Bounds of a new password, in characters. */
export const PASSWORD_MIN = 8
export const PASSWORD_MAX = 256

/** How many passwords may wait for the thread; more are rejected with OVERLOADED. */
const MAX_WAITING = 64
/** Without a task for this time, in milliseconds, the thread ends and frees its memory. */
const IDLE_MS = 30_000

/**
 * A hash that no password matches, with the usual parameters. It is verified for an unknown user name, so that the
 * answer takes the same time.
 */
const UNMATCHABLE_HASH =
  '$argon2id$v=19$m=19456,t=2,p=1$AQEBAQEBAQEBAQEBAQEBAQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'

interface Waiting {
  resolve: (result: PasswordResult) => void
  reject: (err: Error) => void
}

/** Hashes and verifies passwords in a separate thread, one at a time, with a bounded queue. */
export class Passwords {
  #worker: Worker | undefined
  #idle: NodeJS.Timeout | undefined
  #lastId = 0
  readonly #waiting = new Map<number, Waiting>()

  /** Hashes a password with a new salt. @throws {ServiceError} OVERLOADED when too many wait */
  async hash(password: string): Promise<string> {
    const { hash } = await this.#run({ password })
    if (hash === undefined) throw new Error('the password was not hashed')
    return hash
  }

  /**
   * Whether a password matches a hash. Without a hash it returns false after the same time.
   * @throws {ServiceError} OVERLOADED when too many wait
   */
  async verify(password: string, hash: string | undefined): Promise<boolean> {
    const { matches = false } = await this.#run({ password, hash: hash ?? UNMATCHABLE_HASH })
    return matches && hash !== undefined
  }

  /**
   * Why a password is too easy to guess to become that of a user; undefined when it is not. `weaknessOf` has the rules.
   * @throws {ServiceError} OVERLOADED when too many wait
   */
  async weakness(password: string, username: string): Promise<Weakness | undefined> {
    const { weakness } = await this.#run({ password, newFor: { username, minLength: PASSWORD_MIN } })
    return weakness
  }

  /** Ends the thread; waiting calls are rejected. Idempotent. */
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
      // Throws when no descriptor or thread is free: then this promise rejects and nothing waits.
      const worker = this.#thread()
      this.#waiting.set(id, { resolve, reject })
      // The thread keeps the process alive only while a call waits.
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
        // A call that comes while the thread ends starts a new one.
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
