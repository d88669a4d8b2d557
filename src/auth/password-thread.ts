// Hashes passwords away from the main loop: the computation is synchronous and takes some 60 ms.
import { randomBytes } from 'node:crypto'
import { parentPort } from 'node:worker_threads'
import { argon2id, argon2Verify } from 'hash-wasm'

/** Parameters of argon2id after the OWASP password storage cheat sheet: 19 MiB, two passes, one lane. */
const PARAMETERS = {
  memorySize: 19 * 1024,
  iterations: 2,
  parallelism: 1,
  hashLength: 32,
  outputType: 'encoded'
} as const
const SALT_BYTES = 16

/** What the thread is asked; it answers with the same `id`. */
export type PasswordTask = { id: number; password: string; hash?: string }
export type PasswordResult = { id: number; hash?: string; matches?: boolean; failed?: boolean }

let last: Promise<void> = Promise.resolve()

// One after the other: each takes its 19 MiB before it first waits for anything, so 64 at once would take 1.3 GB.
parentPort?.on('message', (task: PasswordTask) => {
  last = last.then(async () => parentPort?.postMessage(await process(task)))
})

async function process({ id, password, hash }: PasswordTask): Promise<PasswordResult> {
  try {
    return hash === undefined
      ? { id, hash: await argon2id({ ...PARAMETERS, password, salt: randomBytes(SALT_BYTES) }) }
      : { id, matches: await argon2Verify({ password, hash }) }
  } catch {
    // What went wrong may hold the password: it stays here.
    return { id, failed: true }
  }
}
