import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { acquireProcessLock, LockHeldError, processIdentity } from '../../../src/database/embedded/process-lock.ts'

async function scratch(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'trading-health-lock-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  return join(dir, 'lock')
}

/** The process that a refusal names. */
async function holderOf(dir: string): Promise<number> {
  try {
    await acquireProcessLock(dir)
  } catch (err) {
    if (err instanceof LockHeldError) return err.pid
    throw err
  }
  throw new Error('the lock was free')
}

t.test('a lock is held by one at a time, and free again when released, however often', async t => {
  const dir = await scratch(t)
  const lock = await acquireProcessLock(dir)
  t.equal(await holderOf(dir), process.pid)
  await lock.release()
  await lock.release()
  await (await acquireProcessLock(dir)).release()
  t.strictSame(await readdir(dir), [])
})

t.test('a live process keeps others out, and loses nothing by it', async t => {
  const dir = await scratch(t)
  await (await acquireProcessLock(dir)).release()
  const parent = await processIdentity(process.ppid)
  t.ok(parent)
  await writeFile(join(dir, `${parent}`), '')
  t.equal(await holderOf(dir), process.ppid)
  t.strictSame(await readdir(dir), [parent])
})

t.test('the locks of processes that are gone do not count: killed, before a reboot, or of a recycled pid', async t => {
  const dir = await scratch(t)
  await (await acquireProcessLock(dir)).release()
  const [pid, start, boot] = (await processIdentity(process.pid))?.split('.') ?? []
  const gone = [
    `999999999.1.${boot}`,
    `${pid}.${start}.another-boot`,
    `${pid}.${Number(start) + 1}.${boot}`,
    'nonsense'
  ]
  for (const name of gone) await writeFile(join(dir, name), '')
  const lock = await acquireProcessLock(dir)
  t.strictSame(await readdir(dir), [await processIdentity(process.pid)])
  await lock.release()
})

t.test('the lock of another container is left alone, for its process cannot be seen', async t => {
  const dir = await scratch(t)
  await (await acquireProcessLock(dir)).release()
  const [, , boot, namespace] = (await processIdentity(process.pid))?.split('.') ?? []
  if (namespace === undefined) return t.comment('skipped: this system has no pid namespaces')
  const other = `1.1.${boot}.${namespace}0`
  await writeFile(join(dir, other), '')
  await (await acquireProcessLock(dir)).release()
  t.strictSame(await readdir(dir), [other])
})

t.test('a process that does not exist has no identity', async t => {
  for (const pid of [0, -1, 999_999_999]) t.equal(await processIdentity(pid), undefined)
})
