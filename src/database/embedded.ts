/**
 * The embedded Postgres: what stands in for DATABASE_URL on a machine with nothing but Node. It owns the server in
 * `<dataDir>/postgres` from the first start to `stop()`, and finds it again after a `kill -9`.
 */
import { copyFile, mkdir, realpath, rm, stat, truncate } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import postgres from 'postgres'
import {
  chooseRunner,
  exists,
  type Installation,
  initCluster,
  isPostmasterOf,
  launchPostmaster,
  locateBinaries,
  makeSocketDir,
  type Postmaster,
  readPostmasterPid,
  restoreSymlinks,
  type SocketDir,
  socketDir,
  socketSetting,
  socketUrl,
  stopPostmaster,
  watchPostmaster
} from './postgres-server.ts'
import { acquireProcessLock, errorCode, LockHeldError, type ProcessLock } from './process-lock.ts'

const SECOND = 1000
const RESTART_DELAY_MIN = SECOND / 10
const RESTART_DELAY_MAX = 5 * SECOND
const LOG_CHECK = 10 * SECOND
const LOG_BYTES = 4 * 1024 * 1024
const ADOPT_DEADLINE = 10 * SECOND

/** Object first, as pino takes it. */
export interface Log {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

export interface EmbeddedOptions {
  /** Made when absent. */
  dataDir: string
  log: Log
  /** Ends the start, at whatever point it is; nothing is left running. */
  signal?: AbortSignal
  /** false: as root, step down to another user even where a user namespace would do. Default true. */
  userNamespace?: boolean
}

export interface EmbeddedPostgres {
  /** For postgres.js; holds for as long as the server is not stopped, restarts included. */
  url: string
  /** Shuts the server down, bounded, losing nothing. Idempotent. */
  stop(): Promise<void>
}

/**
 * Made for a service with a pool of ten and a machine that has other things to do: little shared memory, no helper
 * processes for replication, parallel queries or I/O. The log says warnings and worse.
 */
const SETTINGS = {
  listen_addresses: '',
  port: 5432,
  unix_socket_permissions: '0700',
  max_connections: 50,
  shared_buffers: '32MB',
  max_wal_size: '256MB',
  min_wal_size: '32MB',
  wal_level: 'minimal',
  max_wal_senders: 0,
  max_logical_replication_workers: 0,
  max_parallel_workers: 0,
  io_method: 'sync',
  log_checkpoints: 'off',
  timezone: 'UTC',
  log_timezone: 'UTC'
}

/**
 * Starts the embedded Postgres, adopting a server that a killed service left running.
 * @throws Error with one sentence for the operator: package missing, data of another user, data in use
 */
export async function startEmbeddedPostgres(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const { log, signal } = options
  signal?.throwIfAborted()
  const native = locateBinaries()
  await restoreSymlinks(native)
  await mkdir(options.dataDir, { recursive: true, mode: 0o700 })
  const home = await realpath(resolve(options.dataDir))
  const installation = { native, runner: await chooseRunner(join(home, 'postgres'), options) }
  const lock = await lockData(home)
  const server = new Supervisor(installation, home, log, lock)
  try {
    await server.start(signal)
  } catch (err) {
    await server.stop()
    throw err
  }
  return server
}

async function lockData(home: string): Promise<ProcessLock> {
  try {
    return await acquireProcessLock(join(home, 'postgres.lock'))
  } catch (err) {
    if (err instanceof LockHeldError) {
      throw new Error(
        `the data in ${home} is in use by another service (process ${err.pid}): stop it, or set another DATA_DIR`,
        { cause: err }
      )
    }
    throw err
  }
}

class Supervisor implements EmbeddedPostgres {
  readonly #installation: Installation
  readonly #home: string
  readonly #dir: string
  readonly #logFile: string
  readonly #log: Log
  readonly #lock: ProcessLock
  readonly #stopping = new AbortController()
  #socket: SocketDir | undefined
  #postmaster: Postmaster | undefined
  #watching: Promise<void> | undefined
  #logTimer: NodeJS.Timeout | undefined
  #stopped: Promise<void> | undefined

  constructor(installation: Installation, home: string, log: Log, lock: ProcessLock) {
    this.#installation = installation
    this.#home = home
    this.#dir = join(home, 'postgres')
    this.#logFile = join(home, 'postgres.log')
    this.#log = log
    this.#lock = lock
  }

  get url(): string {
    if (this.#socket === undefined) throw new Error('the embedded Postgres has not been started')
    return socketUrl(this.#socket.path)
  }

  async start(signal?: AbortSignal): Promise<void> {
    const began = Date.now()
    const adopted = await this.#adopt()
    const cold = !(await exists(this.#dir))
    if (!adopted) {
      if (cold) await initCluster(this.#installation, this.#dir, ['--auth=trust'], signal)
      this.#socket = await makeSocketDir(this.#home, this.#installation.runner)
      this.#postmaster = await this.#launch(signal)
    }
    this.#logTimer = setInterval(() => void this.#boundLog(), LOG_CHECK).unref()
    this.#watching = this.#watch()
    this.#log.info({ data: this.#dir, cold, adopted, duration_ms: Date.now() - began }, 'embedded postgres started')
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  async #stop(): Promise<void> {
    this.#stopping.abort()
    clearInterval(this.#logTimer)
    if (this.#postmaster !== undefined) await stopPostmaster(this.#postmaster)
    await this.#watching
    await this.#socket?.remove()
    await this.#lock.release()
    if (this.#postmaster !== undefined) this.#log.info({ data: this.#dir }, 'embedded postgres stopped')
  }

  async #launch(signal?: AbortSignal): Promise<Postmaster> {
    await this.#boundLog()
    if (this.#socket === undefined) throw new Error('no socket directory')
    const settings = { ...SETTINGS, unix_socket_directories: socketSetting(this.#socket.path) }
    return launchPostmaster(this.#installation, this.#dir, settings, this.#logFile, signal)
  }

  /** Takes over the server that a killed service left, or removes what remains of it. */
  async #adopt(): Promise<boolean> {
    const deadline = Date.now() + ADOPT_DEADLINE
    for (;;) {
      const found = await readPostmasterPid(this.#dir)
      if (found === undefined) return false
      if (!(await isPostmasterOf(found.pid, this.#dir))) {
        await rm(join(this.#dir, 'postmaster.pid'), { force: true })
        await socketDir(found.socketDir).remove()
        return false
      }
      if (found.status === 'ready' && (await answers(socketUrl(found.socketDir), this.#dir))) {
        this.#socket = socketDir(found.socketDir)
        this.#postmaster = watchPostmaster(found.pid, this.#dir)
        return true
      }
      if (Date.now() > deadline) await stopPostmaster(watchPostmaster(found.pid, this.#dir))
      await delay(SECOND / 10)
    }
  }

  /** Brings a server back that ended by itself, for as long as nobody stops it. */
  async #watch(): Promise<void> {
    const { signal } = this.#stopping
    for (;;) {
      const end = await this.#postmaster?.exited
      if (signal.aborted) return
      this.#log.error({ data: this.#dir, end }, 'embedded postgres died, restarting')
      const died = Date.now()
      for (let wait = RESTART_DELAY_MIN; ; wait = Math.min(wait * 2, RESTART_DELAY_MAX)) {
        try {
          await delay(wait, undefined, { signal })
          this.#postmaster = await this.#launch(signal)
          if (signal.aborted) return await stopPostmaster(this.#postmaster)
          break
        } catch (err) {
          if (signal.aborted) return
          this.#log.debug({ err }, 'embedded postgres does not start')
        }
      }
      this.#log.info({ duration_ms: Date.now() - died }, 'embedded postgres is back')
    }
  }

  /** The server appends to an open file: copied and cut, it stays below twice LOG_BYTES and a few seconds' worth. */
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

async function answers(url: string, dir: string): Promise<boolean> {
  const sql = postgres(url, { max: 1, connect_timeout: 1, fetch_types: false, onnotice: () => {} })
  const timeout = new AbortController()
  try {
    const query = sql`show data_directory`.then(([row]) => row?.data_directory === dir)
    return await Promise.race([query, delay(SECOND, false, { signal: timeout.signal })])
  } catch {
    return false
  } finally {
    timeout.abort()
    await sql.end({ timeout: 0 })
  }
}
