import { join } from 'node:path'
import t from 'tap'
import { connectionLimit, openFilesLimit } from '../../src/connections/connection-limit.ts'

const pool = { DATABASE_POOL_MAX: 10 }

t.test('each port may have a third of the open files that are not reserved, and at most a thousand', async t => {
  const reserved = { reserved: 276, needed: 276 }
  t.strictSame(connectionLimit(pool, 1_024), { max: 249, openFiles: 1_024, ...reserved })
  t.strictSame(connectionLimit(pool, 65_536), { max: 1_000, openFiles: 65_536, ...reserved })
  t.strictSame(connectionLimit({ DATABASE_POOL_MAX: 100 }, 1_024).max, 189)
})

t.test('MAX_CONNECTIONS is used if the limit of open files permits it', async t => {
  const max = (MAX_CONNECTIONS: number, openFiles: number) =>
    connectionLimit({ ...pool, MAX_CONNECTIONS }, openFiles).max
  t.equal(max(20, 1_024), 20)
  t.equal(max(5_000, 65_536), 5_000)
  t.equal(max(5_000, 1_024), 249)
})

t.test('with a low limit the ports have a quarter of it, and at least one connection', async t => {
  t.strictSame(connectionLimit(pool, 100), { max: 8, openFiles: 100, reserved: 75, needed: 276 })
  t.equal(connectionLimit(pool, 4).max, 1)
})

t.test('the limit of the process is read, and is 1024 if the system does not show it', async t => {
  const files = {
    number: 'Limit Soft Hard Units\nMax processes 1 2 processes\nMax open files            512        1024   files\n',
    unlimited: 'Max open files            unlimited        unlimited   files\n',
    other: 'nothing\n'
  }
  const folder = t.testdir(files)
  t.equal(openFilesLimit(join(folder, 'number')), 512)
  t.equal(openFilesLimit(join(folder, 'unlimited')), Number.MAX_SAFE_INTEGER)
  t.equal(openFilesLimit(join(folder, 'other')), 1_024)
  t.equal(openFilesLimit(join(folder, 'missing')), 1_024)
  const own = openFilesLimit()
  t.ok(own > 0, `of this process: ${own}`)
})
