// Hashes passwords outside of the main thread: the computation is synchronous and takes about 60 ms. The list of common
// passwords is here too, so that its memory is freed with the thread.
import { randomBytes } from 'node:crypto'
import { parentPort } from 'node:worker_threads'
import { argon2id, argon2Verify } from 'hash-wasm'
import { type Weakness, weaknessOf } from './weak-password.ts'

/** Parameters of argon2id, as in the OWASP password storage cheat sheet: 19 MiB, two passes, one lane. */
const PARAMETERS = {
  memorySize: 19 * 1024,
  iterations: 2,
  parallelism: 1,
  hashLength: 32,
  outputType: 'encoded'
} as const
const SALT_BYTES = 16

/** A message to the thread: hash a password, verify it against `hash`, or judge it as the new one of a user. */
export type PasswordTask = {
  id: number
  password: string
  hash?: string
  newFor?: { username: string; minLength: number }
}
/** The answer, with the `id` of the task. */
export type PasswordResult = {
  id: number
  hash?: string
  matches?: boolean
  weakness?: Weakness | undefined
  failed?: boolean
}

let last: Promise<void> = Promise.resolve()

// One task at a time: each allocates 19 MiB at once, so 64 concurrent ones would allocate 1.3 GB.
parentPort?.on('message', (task: PasswordTask) => {
  last = last.then(async () => parentPort?.postMessage(await process(task)))
})

async function process({ id, password, hash, newFor }: PasswordTask): Promise<PasswordResult> {
  try {
    if (newFor) {
      const { commonPasswords: common } = await import('./common-passwords.ts')
      return { id, weakness: weaknessOf(password, { ...newFor, common }) }
    }
    return hash === undefined
      ? { id, hash: await argon2id({ ...PARAMETERS, password, salt: randomBytes(SALT_BYTES) }) }
      : { id, matches: await argon2Verify({ password, hash }) }
  } catch {
    // The error may contain the password: it does not leave the thread.
    return { id, failed: true }
  }
}
