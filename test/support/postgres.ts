/** Real Postgres servers for tests: one that test files share, and private ones that a test may stop or damage. */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { appendFileSync } from 'node:fs'
import { appendFile, chmod, copyFile, mkdir, mkdtemp, open, realpath, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import postgres from 'postgres'
import type { Test } from 'tap'
import { findBinaries } from '../../src/database/embedded/binaries.ts'
import { initCluster } from '../../src/database/embedded/cluster.ts'
import { socketUrl } from '../../src/database/embedded/index.ts'
import { launchPostmaster, type Postmaster, stopPostmaster } from '../../src/database/embedded/postmaster.ts'
import { chooseRunner } from '../../src/database/embedded/runner.ts'
import { errorCode } from '../../src/database/error-code.ts'
import { memoryDirectory } from './memory-directory.ts'
import { spawnNode } from './node-process.ts'
import { signalTree } from './process-tree.ts'
import { stablePort } from './stable-port.ts'

const KEEPER = fileURLToPath(new URL('./postgres-keeper.js', import.meta.url))
const REAPER = fileURLToPath(new URL('./postgres-reaper.js', import.meta.url))
const KEEPER_DEADLINE = 60_000
const POLL = 50

/**
 * A key pair for `localhost` and 127.0.0.1 and the CA that signed it, valid from 2020 to 2119. Files of the source tree:
 * the compiler does not copy them.
 */
const TLS = fileURLToPath(new URL('../../../test/support/tls/', import.meta.url))
/** Without TLS a TCP connection is rejected; the superuser connects over the unix socket without a password. */
const TLS_RULES = `local all all trust
hostssl all all 127.0.0.1/32 scram-sha-256
hostnossl all all all reject
`
const PASSWORD = 'trading'

type Teardown = Pick<Test, 'teardown'>

let shared: Promise<string> | undefined
let cluster: Promise<string> | undefined

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
  const dir = join(await memoryDirectory(), `trading-health-test-${key}`)
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
  const child = spawnNode(KEEPER, [dir], { detached: true, stdio: ['ignore', log.fd, log.fd] })
  const ended = () => {
    keeper.ended = true
  }
  child.once('error', ended).once('exit', ended).unref()
  await log.close()
  return keeper
}

/**
 * @returns the server's URL, which is valid while this process keeps its connection open; undefined without a keeper
 */
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

/** A Postgres that a test can stop, freeze and restart. */
export interface TestPostgres {
  /** TCP on 127.0.0.1 with a password, as an ordinary role that owns its database. The same after `start()`. */
  readonly url: string
  /** PEM file of the CA that signed the server's certificate; undefined without TLS. */
  readonly caFile: string | undefined
  /** Its unix socket, on which it requires no password. */
  readonly socket: string
  /** The log file of the server. */
  readonly logFile: string
  /** Shuts down, ending all connections. Idempotent. */
  stop(): Promise<void>
  /** Starts again on the same port with the same data. */
  start(): Promise<void>
  restart(): Promise<void>
  /** Restarts it as a hot standby without a primary: it answers queries, and is read-only until `promote`. */
  demote(): Promise<void>
  /** Ends the recovery of a hot standby. */
  promote(): Promise<void>
  /** SIGSTOP to all its processes: it accepts connections and does not answer. */
  freeze(): Promise<void>
  thaw(): Promise<void>
  /**
   * Runs one statement as superuser, over a separate socket without a password and without the connection limit of
   * ordinary roles.
   */
  query(statement: string): Promise<postgres.RowList<postgres.Row[]>>
}

/**
 * Starts a private server. It is stopped and its data are removed at teardown of `t`, or when this process ends.
 * @param maxConnections `max_connections` of the server, three of which are for superusers. Default 50
 * @param tls TCP only with TLS and SCRAM; the URL says `sslmode=require`. Default false
 */
export async function startTestPostgres(
  t: Teardown,
  { maxConnections = 50, tls = false, environment = {} as Record<string, string> } = {}
): Promise<TestPostgres> {
  const home = await realpath(await mkdtemp(join(await memoryDirectory(), 'trading-health-private-')))
  const dir = join(home, 'postgres')
  const release = cleanUpAtExit(home)
  const binaries = await findBinaries(await chooseRunner(dir), home)
  // postgres.js decodes the host of a URL only when that contains a comma.
  const socketDir = join(home, 's,')
  await mkdir(socketDir)
  cluster ??= newCluster()
  await promisify(execFile)('cp', ['-a', await cluster, dir])
  if (tls) await enableTls(dir)

  const port = await stablePort()
  const settings = {
    listen_addresses: '127.0.0.1',
    port,
    max_connections: maxConnections,
    fsync: 'off',
    // A standby requires this setting.
    wal_level: 'replica'
  }
  let postmaster: Postmaster | undefined
  const running = () => {
    if (postmaster === undefined) throw new Error('the server is stopped')
    return postmaster
  }

  const server: TestPostgres = {
    url: `postgres://trading:${PASSWORD}@127.0.0.1:${port}/trading${tls ? '?sslmode=require' : ''}`,
    caFile: tls ? join(TLS, 'ca.pem') : undefined,
    socket: join(socketDir, `.s.PGSQL.${port}`),
    logFile: join(home, 'postgres.log'),
    async stop() {
      if (postmaster === undefined) return
      await signalTree(postmaster.pid, 'SIGCONT')
      await stopPostmaster(postmaster)
      postmaster = undefined
    },
    async start() {
      const onLine = (line: string) => appendFileSync(server.logFile, `${line}\n`)
      const withEnvironment = { ...binaries, env: { ...binaries.env, ...environment } }
      postmaster ??= await launchPostmaster({ binaries: withEnvironment, dir, socketDir, settings, onLine })
    },
    async restart() {
      await server.stop()
      await server.start()
    },
    async demote() {
      await server.stop()
      await writeFile(join(dir, 'standby.signal'), '')
      await server.start()
    },
    async promote() {
      await server.query('select pg_promote()')
    },
    async freeze() {
      await signalTree(running().pid, 'SIGSTOP')
    },
    async thaw() {
      await signalTree(running().pid, 'SIGCONT')
    },
    async query(statement) {
      const sql = postgres(socketUrl(socketDir), {
        path: server.socket,
        max: 1,
        fetch_types: false,
        onnotice: () => {}
      })
      try {
        return await sql.unsafe(statement)
      } finally {
        await sql.end({ timeout: 5 })
      }
    }
  }
  t.teardown(async () => {
    await server.stop()
    await release()
  })
  await server.start()
  await server.query(`create role trading login password '${PASSWORD}'`)
  await server.query('create database trading owner trading')
  return server
}

/**
 * A cluster of which each private server of this process has a copy: copying takes a tenth of the CPU time of initdb.
 * It is removed when this process ends.
 */
async function newCluster(): Promise<string> {
  const home = await realpath(await mkdtemp(join(await memoryDirectory(), 'trading-health-cluster-')))
  cleanUpAtExit(home)
  const dir = join(home, 'postgres')
  const binaries = await findBinaries(await chooseRunner(dir), home)
  await initCluster(binaries, dir, ['--auth-local=trust', '--auth-host=scram-sha-256', '--no-sync'])
  return dir
}

/** Starts a process that cleans up when this one ends, even by SIGKILL. @returns a function that cleans up now */
function cleanUpAtExit(home: string): () => Promise<void> {
  const child = spawnNode(REAPER, [home], { detached: true, stdio: ['pipe', 'ignore', 'inherit'] })
  const exited = once(child, 'exit')
  child.unref()
  return async () => {
    child.ref()
    child.stdin?.end()
    const [code] = await exited
    if (code !== 0) throw new Error(`${home} was not removed: the reaper ended with ${code}`)
  }
}

async function enableTls(dir: string): Promise<void> {
  await copyFile(join(TLS, 'server-cert.pem'), join(dir, 'server.crt'))
  await copyFile(join(TLS, 'server-key.pem'), join(dir, 'server.key'))
  // Postgres refuses a key that other users can read.
  await chmod(join(dir, 'server.key'), 0o600)
  await writeFile(join(dir, 'pg_hba.conf'), TLS_RULES)
  await appendFile(join(dir, 'postgresql.conf'), 'ssl = on\n')
}
