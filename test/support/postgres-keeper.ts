/**
 * The one Postgres that all test files of this project share, in a process of its own.
 *
 * A test process holds a connection to the keeper's socket until it ends; the kernel closes it in any case. Some
 * seconds after the last process has ended the keeper stops the server, removes its data and ends, so that no test
 * process has to clean up. Started by postgres.ts. Arguments: the data directory, and the time to keep running without
 * clients (ms, default 3000).
 */
import { mkdir, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { startEmbeddedPostgres } from '../../src/database/embedded/index.ts'
import { acquireServiceLock } from '../../src/database/embedded/service-lock.ts'

/** Longer than the gap between two test files that run one after the other. */
const LINGER = Number(process.argv[3] ?? 3000)
/** The process that started the server may need longer on a busy machine. */
const FIRST_CLIENT = 30_000
/** Test files run in parallel, each with its pools. Their data need no protection against a power cut. */
const SETTINGS = { max_connections: 300, fsync: 'off' }

const silent = { debug() {}, info() {}, warn() {}, error() {} }
const dir = process.argv[2]
if (dir === undefined) throw new Error('usage: postgres-keeper <directory>')

await mkdir(dir, { recursive: true, mode: 0o700 })
const lock = await acquireServiceLock(join(dir, 'keeper'))
// Another keeper started first, or is still cleaning up. The waiting test process tries again.
if ('heldBy' in lock) process.exit(0)
const data = join(dir, 'data')
const socket = join(dir, 'keeper.sock')
const server = createServer()
let failure: unknown
try {
  const embedded = await startEmbeddedPostgres({ dataDir: data, log: silent, settings: SETTINGS })
  try {
    await rm(socket, { force: true })
    await served(embedded.url)
  } finally {
    await embedded.stop()
  }
} catch (err) {
  failure = err
}
await rm(data, { recursive: true, force: true })
await lock.release()
if (failure !== undefined) throw failure

/** Resolves when no client came for FIRST_CLIENT milliseconds, or LINGER milliseconds after the last one left. */
function served(url: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let clients = 0
    const end = () => server.close(() => resolve())
    let timer = setTimeout(end, FIRST_CLIENT)
    server.once('error', reject)
    server.on('connection', client => {
      clients++
      clearTimeout(timer)
      client.on('error', () => client.destroy())
      client.once('close', () => {
        if (--clients === 0) timer = setTimeout(end, LINGER)
      })
      client.resume().write(`${url}\n`)
    })
    server.listen(socket)
  })
}
