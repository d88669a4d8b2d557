// Hashes passwords outside of the main thread: the computation is synchronous and takes about 60 ms.
import { randomBytes } from 'node:crypto'
import { parentPort } from 'node:worker_threads'
import { argon2id, argon2Verify } from 'hash-wasm'

/** Parameters of argon2id, as in the OWASP password storage cheat sheet: 19 MiB, two passes, one lane. */
const PARAMETERS = {
  memorySize: 19 * 1024,
  iterations: 2,
  parallelism: 1,
  hashLength: 32,
  outputType: 'encoded'
} as const
const SALT_BYTES = 16

/** A message to the thread: hash a password, or verify it against `hash`. */
export type PasswordTask = { id: number; password: string; hash?: string }
/** The answer, with the `id` of the task. */
export type PasswordResult = { id: number; hash?: string; matches?: boolean; failed?: boolean }

let last: Promise<void> = Promise.resolve()

// One task at a time: each allocates 19 MiB at once, so 64 concurrent ones would allocate 1.3 GB.
parentPort?.on('message', (task: PasswordTask) => {
  last = last.then(async () => parentPort?.postMessage(await process(task)))
})

async function process({ id, password, hash }: PasswordTask): Promise<PasswordResult> {
  try {
    return hash === undefined
      ? { id, hash: await argon2id({ ...PARAMETERS, password, salt: randomBytes(SALT_BYTES) }) }
      : { id, matches: await argon2Verify({ password, hash }) }
  } catch {
    // The error may contain the password: it does not leave the thread.
    return { id, failed: true }
  }
}
