import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { freePort } from './free-port.ts'

/** Why a test that needs pgbouncer is skipped; false when it is installed. */
export const pgbouncerAbsent: string | false = spawnSync('pgbouncer', ['--version']).error
  ? 'pgbouncer is not installed (Debian package pgbouncer)'
  : false

/**
 * Starts a transaction-pooling pgbouncer with Debian's defaults before a server; ended at teardown.
 * @returns the address of the same database through it
 */
export async function startPgbouncer(t: Test, databaseUrl: string): Promise<string> {
  const { hostname, port, username, password, pathname } = new URL(databaseUrl)
  const directory = t.testdir()
  const listenPort = await freePort()
  writeFileSync(join(directory, 'users.txt'), `"${username}" "${password}"\n`)
  writeFileSync(
    join(directory, 'pgbouncer.ini'),
    `[databases]
* = host=${hostname} port=${port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${listenPort}
unix_socket_dir =
auth_type = plain
auth_file = ${join(directory, 'users.txt')}
pool_mode = transaction
default_pool_size = 5
`
  )
  // pgbouncer refuses to run as root.
  mkdirSync(directory, { recursive: true })
  const asRoot = process.getuid?.() === 0
  if (asRoot) chmodSync(directory, 0o755)
  const pgbouncer = spawn('pgbouncer', [...(asRoot ? ['-u', 'nobody'] : []), join(directory, 'pgbouncer.ini')], {
    stdio: 'ignore'
  })
  const ended = once(pgbouncer, 'exit')
  t.teardown(async () => {
    pgbouncer.kill('SIGKILL')
    await ended
  })
  while (!(await accepts(listenPort))) {
    if (pgbouncer.exitCode !== null) throw new Error('pgbouncer ended')
    await sleep(10)
  }
  return `postgres://${username}:${password}@127.0.0.1:${listenPort}${pathname}`
}

function accepts(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(false))
    socket.once('close', () => socket.destroy())
    socket.once('connect', () => socket.destroy())
  })
}
