/**
 * The embedded Postgres: used without DATABASE_URL, on a machine with nothing but Node. One service owns the server of
 * `<dataDir>/postgres` from the start to `stop()`.
 */
import { mkdtemp, realpath, rm, stat, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { unlessAborted } from '../../async/abort.ts'
import { SECOND } from '../../async/durations.ts'
import { openDataDirectory } from '../../data-directory.ts'
import { redactMessage } from '../../log/redact.ts'
import { StartError } from '../../start-error.ts'
import { findBinaries } from './binaries.ts'
import { initCluster, removeUnfinished } from './cluster.ts'
import { clusterVersion, explainFileError, removeEmptyFile } from './data-files.ts'
import {
  findPostmaster,
  type LaunchOptions,
  launchPostmaster,
  type Postmaster,
  type ServerSettings,
  stopPostmaster
} from './postmaster.ts'
import { chooseRunner, giveTo } from './runner.ts'
import { acquireServiceLock } from './service-lock.ts'

const RESTART_DELAY_MIN_MS = SECOND / 10
const RESTART_DELAY_MAX_MS = 5 * SECOND

/**
 * The directory for unix sockets, in the data directory. The comma is for postgres.js, which tests use without
 * `createClient`: it decodes the host of a URL only when that contains one.
 */
const SOCKETS = 'sockets,'
/** The path of a socket has at most 103 bytes, and the longest name of one in that directory 30. */
const SOCKETS_BYTES = 70

/** Object first, as in pino. */
export type EmbeddedLog = Record<'debug' | 'info' | 'warn' | 'error', (fields: object, message: string) => void>

export interface EmbeddedOptions {
  /** Made when absent. */
  dataDir: string
  log: EmbeddedLog
  /** Aborts the start; nothing is left running. Has no effect once the server has started. */
  signal?: AbortSignal | undefined
  /** Server settings in addition to those of postmaster.ts. With `fsync: 'off'` initdb does not wait for the disk either. */
  settings?: ServerSettings | undefined
}

export interface EmbeddedPostgres {
  /** For `createClient`. It does not change until `stop()`, also when the server restarts. */
  readonly url: string
  /** Shuts the server down, within 20 s, losing nothing that was committed. Idempotent. */
  stop(): Promise<void>
}

/**
 * Starts the embedded Postgres. A server that a killed service left running is stopped first. The server restarts when
 * it ends by itself, and is shut down within 5 s when this process ends.
 * @throws {StartError} package missing, data in use, damaged, of another user or of another version
 * of Postgres, no user to run it; or the reason of `signal`
 */
export async function startEmbeddedPostgres({
  dataDir,
  log,
  settings,
  signal
}: EmbeddedOptions): Promise<EmbeddedPostgres> {
  signal?.throwIfAborted()
  const startedMs = performance.now()
  const releases: (() => Promise<void>)[] = []
  const release = async () => {
    for (const step of releases.splice(0).reverse()) await step()
  }
  try {
    const home = await openHome(dataDir)
    const dir = join(home, 'postgres')
    const socketDir = await openSockets(home, releases)
    await removeEmptyFile(join(home, SOCKETS))
    const lock = await acquireServiceLock(socketDir)
    if ('heldBy' in lock) {
      throw new StartError(
        `DATA_DIR ${home} is in use by another service (process ${lock.heldBy}): stop it, or set another DATA_DIR`
      )
    }
    releases.push(lock.release)
    const runner = await chooseRunner(dir)
    const binaries = await findBinaries(runner, home)
    await removeUnfinished(dir)
    const cold = !(await openCluster(home, binaries.majorVersion, log))
    const sync = settings?.fsync === 'off' ? ['--no-sync'] : []
    if (cold) await initCluster(binaries, dir, ['--auth=trust', ...sync], signal)
    else await giveTo(runner, dir)
    const onLine = (line: string, isLoggable: boolean) => {
      if (isLoggable) log.debug({ line: redactMessage(line) }, 'embedded postgres log')
    }
    const options = { binaries, dir, socketDir, settings, onLine, signal }
    releases.push(supervise(await launch(options, log), options, log))
    log.info({ data: dir, cold, duration_ms: sinceMs(startedMs) }, 'embedded postgres started')
    let stopped: Promise<void> | undefined
    return {
      url: socketUrl(socketDir),
      stop() {
        stopped ??= release()
        return stopped
      }
    }
  } catch (err) {
    await release()
    signal?.throwIfAborted()
    throw explainFileError(err)
  }
}

/**
 * Finds the embedded Postgres of a running service, to use it without owning it.
 * @returns its URL; undefined when no server accepts connections on this data
 */
export async function runningEmbeddedPostgres(dataDir: string): Promise<string | undefined> {
  const home = await realpath(dataDir).catch(() => resolve(dataDir))
  const found = await findPostmaster(join(home, 'postgres'))
  return found?.ready ? socketUrl(found.socketDir) : undefined
}

/** The URL of the superuser over the socket in `socketDir`, for `createClient`. */
export function socketUrl(socketDir: string): string {
  return `postgres://postgres@${encodeURIComponent(socketDir)}/postgres`
}

/** @returns the real path of the data directory, in which this user may write */
async function openHome(dataDir: string): Promise<string> {
  const home = await realpath(await openDataDirectory(dataDir))
  const self = process.geteuid?.()
  const { uid } = await stat(join(home, 'postgres')).catch(() => ({ uid: self }))
  if (self === 0 || uid === self) return home
  throw new StartError(
    `the data in ${home} belong to another user (uid ${uid}): start as that user, or set another DATA_DIR`
  )
}

/**
 * The directory for sockets. Where its path is too long for a socket, or the data directory contains a comma, which
 * separates hosts in a URL, its path goes over a link in the temporary directory.
 */
async function openSockets(home: string, releases: (() => Promise<void>)[]): Promise<string> {
  const path = join(home, SOCKETS)
  if (Buffer.byteLength(path) <= SOCKETS_BYTES && !home.includes(',')) return path
  const parent = await mkdtemp(join(tmpdir(), 'trading-health-'))
  releases.push(() => rm(parent, { recursive: true, force: true }))
  await symlink(home, join(parent, 'data'))
  return join(parent, 'data', SOCKETS)
}

/** Stops the server that a killed service left running. @returns false when there is no cluster yet */
async function openCluster(home: string, majorVersion: string, log: EmbeddedLog): Promise<boolean> {
  const dir = join(home, 'postgres')
  const made = await clusterVersion(dir, majorVersion, path => {
    log.warn({ path }, 'version of the embedded data garbled, written again')
  })
  if (made === undefined) return false
  if (made !== majorVersion) {
    throw new StartError(
      `DATA_DIR ${home} has data of Postgres ${made}, and this service has Postgres ${majorVersion}: start the version of the service that made them, or move them to Postgres ${majorVersion} as docs/deployment.md#embedded-database describes, or set another DATA_DIR`
    )
  }
  const former = await findPostmaster(dir)
  if (former !== undefined) {
    log.warn({ data: dir, pid: former.pid }, 'stopping the postgres that a killed service left running')
    await stopPostmaster(former)
  }
  return true
}

/**
 * Starts the server. Backends outlive a postmaster that was killed until their statement ends: until then no other server
 * can start, and this waits. Each reason is logged when it is new.
 * @param isTemporary every failure is tried again
 */
async function launch(options: LaunchOptions, log: EmbeddedLog, isTemporary = false): Promise<Postmaster> {
  const { dir, socketDir, signal } = options
  let lastReason: string | undefined
  for (let waitMs = RESTART_DELAY_MIN_MS; ; waitMs = Math.min(waitMs * 2, RESTART_DELAY_MAX_MS)) {
    try {
      // The server that made these has ended. Postgres would not start when another process has got its process id, or
      // when a power cut left a file empty. It finds backends without them, by their shared memory.
      await rm(join(dir, 'postmaster.pid'), { force: true })
      await rm(join(socketDir, '.s.PGSQL.5432.lock'), { force: true })
      return await launchPostmaster(options)
    } catch (err) {
      signal?.throwIfAborted()
      const reason = String(explainFileError(err))
      if (!reason.includes('is still in use') && !isTemporary) throw err
      if (reason !== lastReason) log.warn({ data: dir, reason }, 'embedded postgres does not start, retrying')
      lastReason = reason
    }
    await delay(waitMs, undefined, { signal })
  }
}

/** Restarts a server that ends by itself. @returns stops it */
function supervise(first: Postmaster, options: LaunchOptions, log: EmbeddedLog): () => Promise<void> {
  const stopping = new AbortController()
  const { signal } = stopping
  const data = options.dir
  const supervising = (async () => {
    let postmaster = first
    try {
      for (;;) {
        const end = await unlessAborted(postmaster.exited(), signal)
        const diedMs = performance.now()
        log.error({ data, end }, 'embedded postgres died')
        postmaster = await launch({ ...options, signal }, log, true)
        log.info({ duration_ms: sinceMs(diedMs) }, 'embedded postgres restarted')
      }
    } catch (err) {
      if (!signal.aborted) throw err
    }
    await stopPostmaster(postmaster)
    log.info({ data }, 'embedded postgres stopped')
  })()
  return () => {
    stopping.abort()
    return supervising
  }
}

function sinceMs(startedMs: number): number {
  return Math.round(performance.now() - startedMs)
}
