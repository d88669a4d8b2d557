import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { ServiceError } from '../errors.ts'
import { sourceDir } from '../locations.ts'
import { PasswordQueue } from './password-queue.ts'
import type { PasswordResult, PasswordTask } from './password-thread.ts'
import type { Weakness } from './weak-password.ts'

/** Bounds of a new password, in characters. */
export const PASSWORD_MIN = 8
export const PASSWORD_MAX = 256

/** Tasks that the thread has at the same time: it begins the second without a message from here. */
const MAX_IN_THREAD = 2
/** Without a task for this time, in milliseconds, the thread ends and frees its memory. */
const IDLE_MS = 30_000

/**
 * A hash that no password matches, with the usual parameters. It is verified for an unknown user name, so that the
 * answer takes the same time.
 */
const UNMATCHABLE_HASH =
  '$argon2id$v=19$m=19456,t=2,p=1$AQEBAQEBAQEBAQEBAQEBAQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'

interface Waiting {
  task: PasswordTask
  resolve: (result: PasswordResult) => void
  reject: (err: Error) => void
}

/**
 * Hashes and verifies passwords in a separate thread, one at a time, with a bounded queue. `caller` is who calls: a number
 * for each user and network that is known from an earlier sign-in, whose calls never wait for those of all others.
 */
export class Passwords {
  #worker: Worker | undefined
  #idle: NodeJS.Timeout | undefined
  #lastId = 0
  readonly #queue = new PasswordQueue<Waiting>()
  readonly #inThread = new Map<number, Waiting>()

  /** Hashes a password with a new salt. @throws {ServiceError} OVERLOADED when too many wait */
  async hash(password: string, caller?: number): Promise<string> {
    const { hash } = await this.#run({ password }, caller)
    if (hash === undefined) throw new Error('the password was not hashed')
    return hash
  }

  /**
   * Whether a password matches a hash. Without a hash it returns false after the same time.
   * @throws {ServiceError} OVERLOADED when too many wait
   */
  async verify(password: string, hash: string | undefined, caller?: number): Promise<boolean> {
    const { matches = false } = await this.#run({ password, hash: hash ?? UNMATCHABLE_HASH }, caller)
    return matches && hash !== undefined
  }

  /**
   * Why a password is too easy to guess to become that of a user; undefined when it is not. `weaknessOf` has the rules.
   * @throws {ServiceError} OVERLOADED when too many wait
   */
  async weakness(password: string, username: string, caller?: number): Promise<Weakness | undefined> {
    const { weakness } = await this.#run({ password, newFor: { username, minLength: PASSWORD_MIN } }, caller)
    return weakness
  }

  /** Ends the thread; waiting calls are rejected. Idempotent. */
  async close(): Promise<void> {
    clearTimeout(this.#idle)
    await this.#worker?.terminate()
  }

  #run(task: Omit<PasswordTask, 'id'>, caller: number | undefined): Promise<PasswordResult> {
    clearTimeout(this.#idle)
    return new Promise<PasswordResult>((resolve, reject) => {
      // Throws when no descriptor or thread is free: then this promise rejects and nothing waits.
      const worker = this.#thread()
      const waiting = { task: { id: ++this.#lastId, ...task }, resolve, reject }
      if (!this.#queue.add(waiting, caller)) {
        return reject(new ServiceError('OVERLOADED', { headers: { 'retry-after': '5' } }))
      }
      // The thread keeps the process alive only while a call waits.
      worker.ref()
      this.#post(worker)
    })
  }

  #post(worker: Worker): void {
    while (this.#inThread.size < MAX_IN_THREAD) {
      const next = this.#queue.next()
      if (!next) return
      this.#inThread.set(next.task.id, next)
      worker.postMessage(next.task)
    }
  }

  #thread(): Worker {
    if (this.#worker) return this.#worker
    const worker = new Worker(join(sourceDir, 'auth/password-thread.js'), { name: 'passwords', env: {}, execArgv: [] })
    worker.on('message', (result: PasswordResult) => {
      const waiting = this.#inThread.get(result.id)
      this.#inThread.delete(result.id)
      if (result.failed) waiting?.reject(new Error('the password was not processed'))
      else waiting?.resolve(result)
      this.#post(worker)
      if (this.#inThread.size > 0) return
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
      const ended = [...this.#inThread.values()]
      this.#inThread.clear()
      for (let next = this.#queue.next(); next; next = this.#queue.next()) ended.push(next)
      for (const { reject } of ended) reject(new Error('the password thread ended'))
    })
    this.#worker = worker
    return worker
  }
}
