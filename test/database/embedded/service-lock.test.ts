import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { acquireServiceLock, type ServiceLock } from '../../../src/database/embedded/service-lock.ts'

async function scratch(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'th-lock-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  return join(dir, 'l')
}

async function acquired(dir: string): Promise<ServiceLock> {
  const lock = await acquireServiceLock(dir)
  if ('heldBy' in lock) throw new Error(`the lock is held by process ${lock.heldBy}`)
  return lock
}

/** A script for `node -e`: listens on a socket in `dir`, as a service that holds the lock does. */
async function holder(t: Test, dir: string): Promise<ChildProcess> {
  const listen = `require('net').createServer().listen(${JSON.stringify(join(dir, '1-held.service'))}, () => console.log())`
  const child = spawn(process.execPath, ['-e', listen], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  return child
}

t.test('a lock is held by one service at a time, and is free after one or more releases', async t => {
  const dir = await scratch(t)
  const lock = await acquired(dir)
  t.strictSame(await acquireServiceLock(dir), { heldBy: process.pid })
  await lock.release()
  await lock.release()
  await (await acquired(dir)).release()
  t.strictSame(await readdir(dir), [])
})

t.test('a running process holds the lock until it is killed, even while it is stopped by a signal', async t => {
  const dir = await scratch(t)
  await (await acquired(dir)).release()
  const child = await holder(t, dir)
  t.strictSame(await acquireServiceLock(dir), { heldBy: 1 })
  child.kill('SIGSTOP')
  t.strictSame(await acquireServiceLock(dir), { heldBy: 1 })
  t.strictSame(await readdir(dir), ['1-held.service'])

  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
  t.strictSame(await readdir(dir), ['1-held.service'], 'its socket remains')
  const lock = await acquired(dir)
  const names = await readdir(dir)
  t.equal(names.length, 1)
  t.not(names[0], '1-held.service', 'the next holder removes it')
  await lock.release()
})

t.test('of many that start at the same time, at most one holds the lock', async t => {
  const dir = await scratch(t)
  const attempts = await Promise.all(Array.from({ length: 8 }, () => acquireServiceLock(dir)))
  const held = attempts.flatMap(attempt => ('release' in attempt ? [attempt] : []))
  t.ok(held.length <= 1, `${held.length} hold it`)
  for (const lock of held) await lock.release()
  await (await acquired(dir)).release()
})
