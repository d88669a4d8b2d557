/** A lock of a directory for one service. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, readdir, rename, rm } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { errorCode } from '../error-code.ts'

/** Two that start at the same time find each other, and both give up. A few attempts decide between them. */
const ATTEMPTS = 5
const RETRY_MIN_MS = 20
const RETRY_SPREAD_MS = 60

const SUFFIX = '.service'

export interface ServiceLock {
  /** Idempotent. */
  release(): Promise<void>
}

/**
 * Takes the lock of `dir`, which is made when absent. Each process first listens on a unix socket of its own in `dir`,
 * then connects to the sockets of all others: of two processes at least the later one finds the other, so they never
 * both hold the lock. The kernel closes the socket of a process that ends, in whatever way: nothing is left to be
 * removed after a kill -9 or a power cut, a process id that is used again does not matter, and processes of other
 * containers are found.
 * @param dir at most 70 bytes long, which is what the path of a socket leaves
 * @returns the process id (in its own container) of the process that holds the lock, which may be this one
 */
export async function acquireServiceLock(dir: string): Promise<ServiceLock | { heldBy: number }> {
  await mkdir(dir, { recursive: true, mode: 0o700 })
  for (let attempt = 1; ; attempt++) {
    const path = join(dir, `${process.pid}-${randomBytes(4).toString('hex')}${SUFFIX}`)
    const server = createServer(socket => socket.destroy()).unref()
    // Renamed when it accepts connections: others remove one that does not.
    await once(server.listen(`${path}.new`), 'listening')
    await rename(`${path}.new`, path)
    const release = async () => {
      server.close()
      await rm(path, { force: true })
    }
    const holder = await otherHolder(dir, path)
    if (holder === undefined) return { release }
    await release()
    if (attempt === ATTEMPTS) return { heldBy: holder }
    await delay(RETRY_MIN_MS + Math.random() * RETRY_SPREAD_MS)
  }
}

/** Removes the sockets of processes that have ended. */
async function otherHolder(dir: string, own: string): Promise<number | undefined> {
  for (const name of await readdir(dir)) {
    const path = join(dir, name)
    if (path === own || !name.endsWith(SUFFIX)) continue
    if (await isListening(path)) return Number.parseInt(name, 10)
    await rm(path, { force: true })
  }
  return undefined
}

/** Whether the process that made the socket still runs. It need not accept the connection. */
async function isListening(path: string): Promise<boolean> {
  const socket = connect(path)
  try {
    await once(socket, 'connect')
    return true
  } catch (err) {
    return errorCode(err) !== 'ECONNREFUSED' && errorCode(err) !== 'ENOENT'
  } finally {
    socket.destroy()
  }
}
