/** A database of its own for each test file, copied from a template that is prepared once per run. */
import { createHash, randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import postgres from 'postgres'
import type { Test } from 'tap'
import { sharedPostgres } from './postgres.ts'
import { processIdentity } from './process-identity.ts'

/** The names of all databases of this file begin with this, followed by the host and the run. */
const PREFIX = 'th'

/** Prepares the template once, for example with the migrations. Must close its connections. */
export type Prepare = (url: string) => Promise<void>

/**
 * Makes a database that is dropped when `t` ends.
 * @param prepare run once per test run on a template, by its name; databases are copied from there
 * @param key distinguishes functions with the same name. Default: the name of `prepare`
 */
export async function createTestDatabase(
  t: Teardown,
  prepare?: Prepare,
  key = prepare?.name
): Promise<{ url: string }> {
  const server = await sharedPostgres()
  const run = await testRun()
  const name = `${run}_${randomBytes(6).toString('hex')}`
  await admin(server, async sql => {
    const template = prepare === undefined ? 'template0' : await ensureTemplate(sql, server, run, prepare, key)
    // Faster than the default strategy here, because its checkpoints are cheap without fsync.
    await sql`create database ${sql(name)} template ${sql(template)} strategy file_copy`
  })
  t.teardown(() => admin(server, sql => sql`drop database if exists ${sql(name)} with (force)`))
  return { url: databaseUrl(server, name) }
}

type Teardown = Pick<Test, 'teardown'>
type Sql = postgres.Sql

async function ensureTemplate(sql: Sql, server: string, run: string, prepare: Prepare, key = ''): Promise<string> {
  if (key === '') throw new Error('a prepare function without a name needs a key')
  const template = `${run}_t_${digest(key)}`
  // One of the concurrent test processes makes it, the others wait. The session always ends, which releases the lock.
  await sql`select pg_advisory_lock(hashtext(${template}))`
  const [found] = await sql`select from pg_database where datname = ${template}`
  if (found !== undefined) return template

  await dropDeadRuns(sql, run)
  const draft = `${template}_draft`
  await sql`drop database if exists ${sql(draft)} with (force)`
  await sql`create database ${sql(draft)} template template0`
  await prepare(databaseUrl(server, draft))
  await sql`select pg_terminate_backend(pid) from pg_stat_activity where datname = ${draft}`
  // Renamed last, so that a template is always complete.
  await sql`alter database ${sql(draft)} rename to ${sql(template)}`
  return template
}

/** Databases of killed runs remain on a server that is not stopped. */
async function dropDeadRuns(sql: Sql, run: string): Promise<void> {
  const host = run.split('_').slice(0, 2).join('_')
  const rows = await sql<
    { datname: string }[]
  >`select datname from pg_database where starts_with(datname, ${`${host}_`})`
  for (const { datname } of rows) {
    const pid = Number(datname.split('_')[2])
    if (!datname.startsWith(`${await runOf(pid)}_`)) await sql`drop database if exists ${sql(datname)} with (force)`
  }
}

/** The run is named after tap's process, so that a template is not used with later code. */
async function testRun(): Promise<string> {
  const run = await runOf(process.env.TAP === '1' ? process.ppid : process.pid)
  if (run === undefined) throw new Error('the process that runs the tests is gone')
  return run
}

async function runOf(pid: number): Promise<string | undefined> {
  const identity = await processIdentity(pid)
  return identity && `${PREFIX}_${digest(hostname())}_${pid}_${digest(identity)}`
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 8)
}

async function admin(server: string, work: (sql: Sql) => Promise<unknown>): Promise<void> {
  const sql = postgres(server, { max: 1, fetch_types: false, onnotice: () => {} })
  try {
    await work(sql)
  } finally {
    await sql.end({ timeout: 5 })
  }
}

function databaseUrl(server: string, name: string): string {
  return server.replace(/(:\/\/[^/?]*)(\/[^?]*)?/, `$1/${name}`)
}
