/** Real Postgres servers for tests: the one that test files share, and private ones that a test may break. */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, open } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { errorCode } from '../../src/database/process-lock.ts'

const KEEPER = fileURLToPath(new URL('./postgres-keeper.js', import.meta.url))
const KEEPER_DEADLINE = 60_000
const POLL = 50

let shared: Promise<string> | undefined

/**
 * The superuser URL of the server for tests: TEST_DATABASE_URL, or an embedded one that all test processes of this
 * project share and that ends by itself after the last of them.
 */
export function sharedPostgres(): Promise<string> {
  shared ??= process.env.TEST_DATABASE_URL ? Promise.resolve(process.env.TEST_DATABASE_URL) : joinKeeper()
  return shared
}

async function joinKeeper(): Promise<string> {
  const key = createHash('sha256').update(`${KEEPER} ${process.geteuid?.()}`).digest('hex').slice(0, 12)
  const dir = join(tmpdir(), `trading-health-test-${key}`)
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const deadline = Date.now() + KEEPER_DEADLINE
  let keeper = { ended: true }
  while (Date.now() < deadline) {
    const url = await askKeeper(join(dir, 'keeper.sock'))
    if (url !== undefined) return url
    if (keeper.ended) keeper = await startKeeper(dir)
    await delay(POLL)
  }
  throw new Error(`no Postgres for tests within a minute: see ${join(dir, 'keeper.log')}`)
}

async function startKeeper(dir: string): Promise<{ ended: boolean }> {
  const log = await open(join(dir, 'keeper.log'), 'w')
  const keeper = { ended: false }
  // Without the environment of the test runner: its loaders and its coverage are not for the keeper.
  const env = { PATH: process.env.PATH, TMPDIR: process.env.TMPDIR }
  const child = spawn(process.execPath, [KEEPER, dir], { detached: true, env, stdio: ['ignore', log.fd, log.fd] })
  const ended = () => {
    keeper.ended = true
  }
  child.once('error', ended).once('exit', ended).unref()
  await log.close()
  return keeper
}

/** @returns the server's URL, while this process keeps its connection open; undefined when no keeper listens */
function askKeeper(path: string): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    let answer = ''
    const socket = connect(path)
    socket.setEncoding('utf8')
    socket.once('error', err => {
      if (['ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE'].includes(errorCode(err) ?? '')) resolve(undefined)
      else reject(err)
    })
    socket.once('close', () => resolve(undefined))
    socket.on('data', chunk => {
      answer += chunk
      if (!answer.endsWith('\n')) return
      socket.unref()
      resolve(answer.trim())
    })
  })
}
