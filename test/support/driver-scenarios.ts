// Run as a process of its own by test/system/driver-patch.test.ts: loads the driver from a folder and runs one
// scenario. Arguments: the folder of the package, the scenario, the URL of a database. Prints the result as JSON.
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type postgres from 'postgres'

type Driver = typeof postgres
type Sql = postgres.Sql

const [folder = '', scenario = '', url = ''] = process.argv.slice(2)
const { default: connect }: { default: Driver } = await import(pathToFileURL(join(folder, 'src/index.js')).href)
const open = (max: number) =>
  connect(url, { max, prepare: false, fetch_types: false, backoff: () => 0.01, onnotice: () => undefined })
const admin = open(1)

const terminate = (pid: number) => admin`select pg_terminate_backend(${pid})`
const backend = async (sql: Sql | postgres.TransactionSql) => {
  const [row] = await sql<{ pid: number }[]>`select pg_backend_pid() as pid`
  return row?.pid ?? 0
}
const outcome = (call: Promise<unknown>) =>
  call.then(
    value => value,
    (err: { code?: string }) => err.code
  )

const scenarios: Record<string, () => Promise<unknown>> = {
  /** A connection is lost inside a transaction. */
  async lost_in_transaction() {
    const sql = open(1)
    const ends: unknown[] = []
    for (let i = 0; i < 5; i++) {
      const lost = sql.begin(async tx => {
        await terminate(await backend(tx))
        await tx`select pg_sleep(5)`
      })
      ends.push(await outcome(lost))
    }
    const [row] = await sql`select 1 as one`
    return [ends, row]
  },

  /** A transaction continues after its connection was lost and then opened again for another statement. */
  async continued_after_loss() {
    const sql = open(1)
    await admin`create table left_over (x int)`
    let lose: () => void = () => undefined
    const lost = new Promise<void>(resolve => {
      lose = resolve
    })
    let late: unknown
    const transaction = sql.begin(async tx => {
      await terminate(await backend(tx))
      await lost
      late = await outcome(tx`insert into left_over values (1)`)
    })
    const end = await outcome(transaction)
    await sql`select 1`
    lose()
    while (late === undefined) await new Promise(resolve => setTimeout(resolve, 5))
    const [row] = await admin`select count(*)::int as rows from left_over`
    return [end, late === 'CONNECTION_CLOSED' ? late : 'not rejected', row]
  },

  /** A statement fails amid its rows; another follows on the same connection. */
  async failed_amid_rows() {
    const sql = open(1)
    await sql`select 1`
    const failed = outcome(sql`select 1 / (3 - i) as x from generate_series(1, 5) i`)
    await failed
    return [await failed, [...(await sql`select 7 as x`)]]
  },

  /** A statement that cannot be built follows another on the same connection, and a third one follows it. */
  async cannot_be_built() {
    const sql = open(1)
    await sql`select 1`
    const first = outcome(sql`select pg_sleep(0.05), 'first' as name`.then(rows => rows[0]?.name))
    const second = outcome(sql`select ${undefined as unknown as string} as name`)
    const third = outcome(sql`select 'third' as name`.then(rows => rows[0]?.name))
    const late = new Promise(resolve => setTimeout(() => resolve('not settled'), 2_000))
    return Promise.all([first, second, third].map(call => Promise.race([call, late])))
  },

  /** A branch of a transaction continues after another branch has failed and the transaction was rolled back. */
  async continued_after_rollback() {
    const sql = open(1)
    await admin`create table left_over (x int)`
    let late: unknown
    const transaction = sql.begin(tx =>
      Promise.all([
        tx`select 1 / 0`,
        (async () => {
          await new Promise(resolve => setTimeout(resolve, 100))
          late = await outcome(tx`insert into left_over values (1)`)
        })()
      ])
    )
    const end = await outcome(transaction)
    while (late === undefined) await new Promise(resolve => setTimeout(resolve, 5))
    const [row] = await admin`select count(*)::int as rows from left_over`
    return [end, late === 'TRANSACTION_ENDED' ? late : 'not rejected', row]
  },

  /** A connection is terminated amid the rows of a statement; another follows on the same connection of the pool. */
  async lost_amid_rows() {
    const sql = open(1)
    const pid = await backend(sql)
    const long = outcome(sql`select i, repeat('x', 1000) as x, pg_sleep(0.001) from generate_series(1, 5000) i`)
    await new Promise(resolve => setTimeout(resolve, 100))
    await terminate(pid)
    return [typeof (await long), [...(await sql`select 7 as x`)]]
  }
}

const run = scenarios[scenario]
if (!run) throw new Error(`there is no scenario ${scenario}`)
process.stdout.write(`${JSON.stringify(await run())}\n`)
process.exit(0)
