/** The server process of a cluster: started, found, stopped. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { unlessAborted } from '../../async/abort.ts'
import { withDeadline } from '../../async/deadline.ts'
import { SECOND } from '../../async/durations.ts'
import { StartError } from '../../start-error.ts'
import type { Binaries } from './binaries.ts'
import { endWithThisProcess } from './guard.ts'
import { ServerLog } from './server-log.ts'

/** Fast: transactions are rolled back. Then immediate: the next start recovers the data. */
const SHUTDOWNS = [
  { signal: 'SIGINT', limitMs: 10 * SECOND },
  { signal: 'SIGQUIT', limitMs: 5 * SECOND },
  { signal: 'SIGKILL', limitMs: 5 * SECOND }
] as const
const EXIT_POLL_MS = 25
const REMEDY = 'Correct this, restore the directory from a backup, or set another DATA_DIR.'

export type ServerSettings = Record<string, string | number>

/**
 * Made for a service with a pool of ten and a machine that has other things to do: little shared memory, no helper
 * processes for replication, parallel queries or I/O. They are arguments, not part of the data, because they belong to
 * this version of the service.
 */
const SETTINGS: ServerSettings = {
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
  // A statement that failed, and the row it failed on, may hold a secret.
  log_min_error_statement: 'panic',
  timezone: 'UTC',
  log_timezone: 'UTC'
}

/** A running postmaster. */
export interface Postmaster {
  pid: number
  /** Sends a signal. Without effect when it has ended. */
  kill(signal: NodeJS.Signals): void
  /** Resolves with the reason when it has ended. Never rejects. */
  exited(): Promise<string>
}

export interface LaunchOptions {
  binaries: Binaries
  /** Of the cluster. A real path. */
  dir: string
  /** For its unix socket; at most 70 bytes long. */
  socketDir: string
  /** In addition to, and instead of, the defaults of this file. */
  settings?: ServerSettings | undefined
  /** Called with each line of the server's log. Only one that `isLoggable` holds no value of a row or a statement. */
  onLine?: (line: string, isLoggable: boolean) => void
  /** Aborts the start; the server has ended then. */
  signal?: AbortSignal | undefined
}

/**
 * Starts the server and waits until it accepts connections, as long as the recovery after a crash takes. It does not keep
 * this process alive, and is shut down when this process ends. It leads a process group: Ctrl-C reaches only the service,
 * which stops the server after it has drained.
 * @throws {StartError} with the fatal message of the server, its detail and hint when it ends before that; or the reason of `signal`
 */
export async function launchPostmaster(options: LaunchOptions): Promise<Postmaster> {
  const { binaries, dir, socketDir, settings, onLine, signal } = options
  // The setting is a list, in which commas separate unless quoted.
  const all = { ...SETTINGS, ...settings, unix_socket_directories: `"${socketDir.replaceAll('"', '""')}"` }
  const args = Object.entries(all).flatMap(([key, value]) => ['-c', `${key}=${value}`])
  const [file, ...rest] = binaries.command('postgres', ['-D', dir, ...args])
  const child = spawn(file, rest, { detached: true, cwd: '/', env: binaries.env, stdio: ['ignore', 'ignore', 'pipe'] })
  const exited = new Promise<string>(resolve => {
    child.once('error', err => resolve(err.message)).once('exit', (code, by) => resolve(`ended with ${by ?? code}`))
  })
  const closed = once(child, 'close').catch(() => exited)
  const kill = (signal: NodeJS.Signals = 'SIGINT') => void child.kill(signal)
  const postmaster = { pid: child.pid ?? Number.NaN, kill, exited: () => exited }
  endWithThisProcess(child)

  const log = new ServerLog()
  const ready = new Promise<boolean>(resolve => {
    createInterface({ input: child.stderr }).on('line', line => {
      onLine?.(line, log.add(line))
      if (log.ready) resolve(true)
    })
  })
  try {
    const started = Promise.race([ready, closed.then(() => false)])
    if (!(await (signal ? unlessAborted(started, signal) : started))) {
      throw new StartError(`the embedded Postgres of ${dir} ${await exited}: ${log.reason()} / ${REMEDY}`)
    }
  } catch (err) {
    await stopPostmaster(postmaster)
    throw err
  }
  child.unref()
  if (child.stderr instanceof Socket) child.stderr.unref()
  return postmaster
}

/** Stops a postmaster within 20 s. Nothing that was committed is lost. Idempotent. */
export async function stopPostmaster({ kill, exited }: Postmaster): Promise<void> {
  for (const { signal, limitMs } of SHUTDOWNS) {
    kill(signal)
    const ended = await withDeadline(exited(), limitMs).catch(() => undefined)
    if (ended !== undefined) return
  }
}

/**
 * Finds the running server of the cluster in `dir`, a real path, whichever process started it.
 * @returns also the directory of its socket, and whether it accepts connections
 */
export async function findPostmaster(
  dir: string
): Promise<(Postmaster & { socketDir: string; ready: boolean }) | undefined> {
  // A power cut may leave an empty file.
  const lines = (await readFile(join(dir, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n')
  const pid = Number(lines[0])
  if (!(await isPostmasterOf(dir, pid))) return undefined
  return {
    pid,
    socketDir: lines[4] ?? '',
    ready: lines[7]?.trim() === 'ready',
    kill(signal) {
      try {
        process.kill(pid, signal)
      } catch {
        // It has ended.
      }
    },
    async exited() {
      while (await isPostmasterOf(dir, pid)) await delay(EXIT_POLL_MS)
      return 'is gone'
    }
  }
}

/** By the command line: every user may read that of every process, in a container too. Backends have another one. */
async function isPostmasterOf(dir: string, pid: number): Promise<boolean> {
  try {
    const command =
      process.platform === 'linux'
        ? (await readFile(`/proc/${pid}/cmdline`, 'utf8')).replaceAll('\0', ' ')
        : (await promisify(execFile)('ps', ['-ww', '-o', 'command=', '-p', String(pid)])).stdout
    return command.includes(`/bin/postgres -D ${dir} -c `)
  } catch {
    // There is no such process.
    return false
  }
}
