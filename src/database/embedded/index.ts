/**
 * The embedded Postgres: used without DATABASE_URL, on a machine with nothing but Node. It owns the server of
 * `<dataDir>/postgres` from the start to `stop()`, and finds it again after a `kill -9`.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { chmod, copyFile, mkdir, realpath, stat, truncate } from 'node:fs/promises'
import { connect } from 'node:net'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { withDeadline } from '../../async/deadline.ts'
import { createClient } from '../client.ts'
import {
  chooseRunner,
  exists,
  type Installation,
  openInstallation,
  type Runner,
  type RunnerOptions
} from './binaries.ts'
import {
  clearRemains,
  giveTo,
  initCluster,
  isPostmasterOf,
  launchPostmaster,
  makeSocketDir,
  type Postmaster,
  readPostmasterPid,
  removeRemains,
  removeSocketDir,
  type ServerSettings,
  socketUrl,
  stopPostmaster,
  watchPostmaster
} from './postmaster.ts'
import { acquireProcessLock, errorCode, LockHeldError, type ProcessLock } from './process-lock.ts'

const SECOND = 1000
const RESTART_DELAY_MIN = SECOND / 10
const RESTART_DELAY_MAX = 5 * SECOND
const LOG_CHECK = 10 * SECOND
const LOG_BYTES = 4 * 1024 * 1024
const ADOPT_DEADLINE = 10 * SECOND
const ADOPT_POLL = SECOND / 10
const LISTENING_AFTER_DEATH = 2 * SECOND

/** Where the data of root go, when they must belong to another user and he may not enter the data directory. */
const REFUGE = '/var/lib/trading-health'

export { interruptPostmasters } from './postmaster.ts'

/** Object first, as pino takes it. */
export interface EmbeddedLog {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

export interface EmbeddedOptions extends RunnerOptions {
  /** Made when absent. */
  dataDir: string
  log: EmbeddedLog
  /** Aborts the start; nothing is left running. Has no effect once the server has started. */
  signal?: AbortSignal | undefined
  /** Server settings beside those of postgres-server.ts. */
  settings?: ServerSettings | undefined
  /** Default /var/lib/trading-health. */
  refuge?: string | undefined
}

export interface EmbeddedPostgres {
  /** For postgres.js. Holds until `stop()`, restarts of the server included. */
  readonly url: string
  /** Shuts the server down, within 20 s, losing nothing that was committed. Idempotent. */
  stop(): Promise<void>
}

/**
 * Starts the embedded Postgres, or adopts the one that a killed service left running.
 * @throws Error with one sentence for the operator: package missing, data in use, data of another user, no way to run
 * it as root here; or the reason of `signal`
 */
export async function startEmbeddedPostgres(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  options.signal?.throwIfAborted()
  const { home, runner } = await openHome(options)
  const lock = await lockHome(home, runner)
  let server: Supervisor | undefined
  try {
    const installation = await openInstallation(runner, home, options.signal)
    server = new Supervisor(installation, home, options)
    await server.start(options.signal)
  } catch (err) {
    await server?.stop()
    await lock.release()
    throw err
  }
  const { url } = server
  let stopped: Promise<void> | undefined
  return {
    url,
    stop() {
      stopped ??= server.stop().finally(() => lock.release())
      return stopped
    }
  }
}

/**
 * Finds the embedded Postgres of a running service, to use it without owning it.
 * @returns its URL, undefined when none runs on this data
 */
export async function runningEmbeddedPostgres(dataDir: string, refuge = REFUGE): Promise<string | undefined> {
  for (const home of [resolve(dataDir), refugeOf(resolve(dataDir), refuge)]) {
    const dir = join(home, 'postgres')
    if (!(await exists(dir))) continue
    const found = await readPostmasterPid(dir)
    if (!found || !(await isPostmasterOf(found.pid, await realpath(dir)))) return undefined
    const url = socketUrl(found.socketDir)
    return (await answers(url, await realpath(dir))) ? url : undefined
  }
  return undefined
}

function refugeOf(dataDir: string, refuge: string): string {
  return join(refuge, createHash('sha256').update(dataDir).digest('hex').slice(0, 12))
}

interface Home {
  /** Holds the cluster, its log, its lock and, if it is short enough, its socket. A real path. */
  home: string
  runner: Runner
}

async function openHome(options: EmbeddedOptions): Promise<Home> {
  const dataDir = resolve(options.dataDir)
  try {
    const refuge = refugeOf(dataDir, options.refuge ?? REFUGE)
    const refugee = !(await exists(join(dataDir, 'postgres'))) && (await exists(join(refuge, 'postgres')))
    const wanted = refugee ? refuge : dataDir
    const runner = await chooseRunner(join(wanted, 'postgres'), options)
    if (runner.kind !== 'user') return { home: await makeHome(wanted, runner), runner }

    if (await mayEnter(dirname(wanted), runner)) return { home: await makeHome(wanted, runner), runner }
    if (await exists(join(wanted, 'postgres'))) {
      throw new Error(
        `Postgres refuses to run as root and no other user may enter ${dirname(wanted)}: start the service as another user, or move ${wanted} to where one may enter`
      )
    }
    options.log.warn(
      { data: refuge },
      'postgres cannot run as root nor as another user in the data directory, its data go elsewhere'
    )
    return { home: await makeHome(refuge, runner), runner }
  } catch (err) {
    if (errorCode(err) !== 'EACCES' && errorCode(err) !== 'EPERM') throw err
    throw new Error(`the data directory ${dataDir} may not be written by this user: set another DATA_DIR`, {
      cause: err
    })
  }
}

async function makeHome(path: string, runner: Runner): Promise<string> {
  const made = await mkdir(path, { recursive: true, mode: runner.kind === 'user' ? 0o711 : 0o700 })
  const home = await realpath(path)
  const cluster = join(home, 'postgres')
  const owner = (await exists(cluster)) ? (await stat(cluster)).uid : undefined
  if (runner.kind !== 'user') {
    const self = process.geteuid?.()
    if (owner === undefined || owner === self) return home
    throw new Error(
      `the data in ${home} belong to another user (uid ${owner}): start as that user, or set another DATA_DIR`
    )
  }
  if (made !== undefined) {
    // What root makes in the directory of a user is the user's, who may start the service next time.
    const ofUser = (await stat(dirname(made))).uid === runner.uid
    for (let dir = home; ofUser && dir.length >= made.length; dir = dirname(dir)) await giveTo(runner, dir)
  } else if (owner !== undefined && !(await mayEnter(home, runner))) {
    await chmod(home, (await stat(home)).mode | 0o011)
  }
  if (owner !== undefined && owner !== runner.uid) await giveTo(runner, cluster)
  return home
}

/** By the mode bits of the directory, or of its nearest ancestor that exists, and of all above. */
async function mayEnter(dir: string, user: { uid: number; gid: number }): Promise<boolean> {
  const parent = dirname(dir)
  if (parent !== dir && !(await mayEnter(parent, user))) return false
  if (!(await exists(dir))) return true
  const { uid, gid, mode } = await stat(dir)
  const bit = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001
  return (mode & bit) !== 0
}

async function lockHome(home: string, runner: Runner): Promise<ProcessLock> {
  const dir = join(home, 'postgres.lock')
  try {
    const lock = await acquireProcessLock(dir)
    await giveTo(runner, dir)
    return lock
  } catch (err) {
    if (err instanceof LockHeldError) {
      throw new Error(
        `the data in ${home} are in use by another service (process ${err.pid}): stop it, or set another DATA_DIR`,
        { cause: err }
      )
    }
    if (errorCode(err) === 'EACCES') {
      throw new Error(`the data in ${home} belong to another user: start as that user, or set another DATA_DIR`, {
        cause: err
      })
    }
    throw err
  }
}

class Supervisor {
  readonly #installation: Installation
  readonly #home: string
  readonly #dir: string
  readonly #logFile: string
  readonly #log: EmbeddedLog
  readonly #settings: ServerSettings
  readonly #stopping = new AbortController()
  #socketDir = ''
  #postmaster: Postmaster | undefined
  #watching: Promise<void> | undefined
  #logTimer: NodeJS.Timeout | undefined

  constructor(installation: Installation, home: string, { log, settings = {} }: EmbeddedOptions) {
    this.#installation = installation
    this.#home = home
    this.#dir = join(home, 'postgres')
    this.#logFile = join(home, 'postgres.log')
    this.#log = log
    this.#settings = settings
  }

  get url(): string {
    return socketUrl(this.#socketDir)
  }

  async start(signal?: AbortSignal): Promise<void> {
    const began = Date.now()
    const adopted = await this.#adopt(signal)
    const cold = !(await exists(this.#dir))
    if (!adopted) {
      await removeRemains(this.#dir)
      if (cold) await initCluster(this.#installation, this.#dir, ['--auth=trust'], signal)
      this.#socketDir = await makeSocketDir(this.#home, this.#installation.runner)
      this.#postmaster = await this.#launch(signal)
    }
    this.#logTimer = setInterval(() => void this.#boundLog(), LOG_CHECK).unref()
    this.#watching = this.#watch(this.#postmaster)
    this.#log.info({ data: this.#dir, cold, adopted, duration_ms: Date.now() - began }, 'embedded postgres started')
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    clearInterval(this.#logTimer)
    if (this.#postmaster !== undefined) await stopPostmaster(this.#postmaster)
    await this.#watching
    await removeSocketDir(this.#socketDir)
    if (this.#watching !== undefined) this.#log.info({ data: this.#dir }, 'embedded postgres stopped')
  }

  async #launch(signal: AbortSignal | undefined): Promise<Postmaster> {
    await this.#boundLog()
    return launchPostmaster({
      installation: this.#installation,
      dir: this.#dir,
      socketDir: this.#socketDir,
      logFile: this.#logFile,
      settings: this.#settings,
      signal
    })
  }

  /** Takes over the server that a killed service left running, or removes what is left of it. */
  async #adopt(signal?: AbortSignal): Promise<boolean> {
    const deadline = Date.now() + ADOPT_DEADLINE
    for (;;) {
      signal?.throwIfAborted()
      const found = await readPostmasterPid(this.#dir)
      if (found === undefined) return false
      if (!(await isPostmasterOf(found.pid, this.#dir))) {
        // Of another container: out of sight, beyond the lock, and its data all the same.
        if (await keepsListening(found.socketDir, signal)) {
          throw new Error(
            `the data in ${dirname(this.#dir)} are in use by another service, in another container: stop it, or set another DATA_DIR`
          )
        }
        await clearRemains(this.#dir)
        await removeSocketDir(found.socketDir)
        return false
      }
      if (found.status === 'ready' && (await answers(socketUrl(found.socketDir), this.#dir))) {
        this.#socketDir = found.socketDir
        this.#postmaster = watchPostmaster(found.pid, this.#dir)
        return true
      }
      // Neither coming up nor going down nor answering: it is of no use to anybody.
      if (Date.now() > deadline) await stopPostmaster(watchPostmaster(found.pid, this.#dir))
      await delay(ADOPT_POLL)
    }
  }

  /** Brings back a server that ended by itself, until it is stopped. */
  async #watch(postmaster: Postmaster | undefined): Promise<void> {
    const { signal } = this.#stopping
    for (let current = postmaster; current !== undefined; ) {
      const end = await current.exited
      if (signal.aborted) return
      this.#log.error({ data: this.#dir, end }, 'embedded postgres died')
      const died = Date.now()
      current = await this.#relaunch(signal)
      if (current !== undefined) this.#log.info({ duration_ms: Date.now() - died }, 'embedded postgres restarted')
    }
  }

  async #relaunch(signal: AbortSignal): Promise<Postmaster | undefined> {
    for (let wait = RESTART_DELAY_MIN; !signal.aborted; wait = Math.min(wait * 2, RESTART_DELAY_MAX)) {
      try {
        await delay(wait, undefined, { signal })
        await clearRemains(this.#dir)
        this.#postmaster = await this.#launch(signal)
        if (!signal.aborted) return this.#postmaster
        await stopPostmaster(this.#postmaster)
      } catch (err) {
        if (!signal.aborted) this.#log.debug({ err }, 'embedded postgres does not start')
      }
    }
    return undefined
  }

  /** The server appends to an open file: copied and cut, both stay at LOG_BYTES and what ten seconds add. */
  async #boundLog(): Promise<void> {
    try {
      if ((await stat(this.#logFile)).size <= LOG_BYTES) return
      await copyFile(this.#logFile, `${this.#logFile}.1`)
      await truncate(this.#logFile)
    } catch (err) {
      if (errorCode(err) !== 'ENOENT') this.#log.warn({ err }, 'embedded postgres log cannot be bounded')
    }
  }
}

/** A killed process is no longer one some time before the kernel closes its sockets. */
async function keepsListening(socketDir: string, signal: AbortSignal | undefined): Promise<boolean> {
  const deadline = Date.now() + LISTENING_AFTER_DEATH
  while (await isListening(socketDir)) {
    signal?.throwIfAborted()
    if (Date.now() > deadline) return true
    await delay(ADOPT_POLL)
  }
  return false
}

async function isListening(socketDir: string): Promise<boolean> {
  const socket = connect(join(socketDir, '.s.PGSQL.5432'))
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(SECOND) })
    return true
  } catch {
    // Refused or absent: whoever made the socket is gone.
    return false
  } finally {
    socket.destroy()
  }
}

async function answers(url: string, dir: string): Promise<boolean> {
  const client = createClient(url, { max: 1, applicationName: 'embedded', connectTimeoutMs: SECOND })
  try {
    const [row] = await withDeadline(client.sql`show data_directory`, SECOND)
    return row?.data_directory === dir
  } catch {
    return false
  } finally {
    client.destroy()
  }
}
