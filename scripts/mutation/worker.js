/**
 * A process of the mutation runner: runs test files in its own copy of build/, with one file of it changed.
 *
 * The databases of the tests are named after the parent process of the test, which is this one
 * (test/support/database.ts). So this process drops the databases of a killed test, and the template is made once.
 * Arguments: the copy's folder.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'

const [copy] = process.argv.slice(2)
let stopTest = () => {}
/** A failed assertion, at any depth, unless the test expects it to fail. */
const FAILED = /^\s*not ok (?!.*# (?:TODO|SKIP))/m

process.on('message', async ({ id, tests, mutant, coverage }) => {
  const outcome = await (coverage ? measured(tests) : tried(tests, mutant))
  process.send({ id, ...outcome })
})
process.once('disconnect', () => {
  stopTest()
  process.exit()
})

/** @returns the first test that fails or exceeds its time, and the milliseconds of all tests that ran */
async function tried(tests, { file, source }) {
  const path = join(copy, file)
  const original = await readFile(path)
  await writeFile(path, source)
  const started = Date.now()
  try {
    for (const { file, timeoutMs } of tests) {
      const result = await run(file, timeoutMs)
      if (result !== 'passed') return { status: result, by: file, ms: Date.now() - started }
    }
    return { status: 'survived', by: null, ms: Date.now() - started }
  } finally {
    await writeFile(path, original)
    await dropDatabases()
  }
}

/** @returns the first line of what failed, or the time in milliseconds and the coverage by file of the copy */
async function measured([{ file, timeoutMs }]) {
  const folder = await mkdtemp(join(tmpdir(), 'mutation-'))
  try {
    const started = Date.now()
    const status = await run(file, timeoutMs)
    const ms = Date.now() - started
    // A second time with coverage, because coverage makes the test slower.
    const covered = await run(file, timeoutMs, { NODE_V8_COVERAGE: folder })
    return { status: status === 'passed' ? covered : status, ms, folder }
  } finally {
    await dropDatabases()
  }
}

async function run(file, timeoutMs, env = {}) {
  const child = spawn(process.execPath, [join(copy, file)], {
    env: { ...process.env, TAP: '1', TAP_TIMEOUT: '600', ...env },
    stdio: ['ignore', 'pipe', 'ignore'],
    detached: true
  })
  let outcome = 'passed'
  // The test may have started processes, which must not outlive it.
  stopTest = () => {
    try {
      process.kill(-child.pid, 'SIGKILL')
    } catch (err) {
      if (err.code !== 'ESRCH') throw err
    }
  }
  const end = status => {
    if (outcome === 'passed') outcome = status
    stopTest()
  }
  const timer = setTimeout(end, timeoutMs, 'timeout')
  let text = ''
  child.stdout.setEncoding('utf8').on('data', chunk => {
    text = text.slice(text.lastIndexOf('\n') + 1) + chunk
    if (FAILED.test(text)) end('killed')
  })
  const [code] = await once(child, 'close')
  clearTimeout(timer)
  if (code !== 0) end('killed')
  return outcome
}

async function dropDatabases() {
  const sql = postgres(process.env.TEST_DATABASE_URL, { max: 1, fetch_types: false, onnotice: () => {} })
  try {
    const rows = await sql`select datname from pg_database where datname like ${`th\\_%\\_${process.pid}\\_%`}`
    for (const { datname } of rows)
      if (!/_t_[0-9a-f]{8}$/.test(datname)) await sql`drop database if exists ${sql(datname)} with (force)`
  } finally {
    await sql.end({ timeout: 5 })
  }
}
