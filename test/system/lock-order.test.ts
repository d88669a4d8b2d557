// Compares the statements of all jobs and admin actions, from the log of Postgres, with the order of locks.
import { readFile } from 'node:fs/promises'
import t from 'tap'
import { LOCK_ORDER } from '../../src/database/lock-order.ts'
import { load, startCluster } from '../support/cluster-load.ts'
import { locksOf, readTransactions, TRACE_SETTINGS, violationsOf } from '../support/lock-trace.ts'
import { startTestPostgres } from '../support/postgres.ts'
import { until } from '../support/replica.ts'

const LOAD_MS = 15_000
/** Tables that only the order-entry side, migrations, or triggers write. The log has no statements of triggers. */
const NEVER_LOCKED = ['schema_version', 'strategies', 'strategy_accounts', 'strategy_capital', 'book_totals']

t.test('every transaction of the service locks tables in the order of LOCK_ORDER', async t => {
  const server = await startTestPostgres(t, { maxConnections: 150 })
  const cluster = await startCluster(t, { url: server.url, directUrl: server.url })
  for (const [name, value] of Object.entries(TRACE_SETTINGS)) {
    await server.query(`alter system set ${name} = '${value}'`)
  }
  await server.query('select pg_reload_conf()')
  const answers = await load(cluster, LOAD_MS)
  t.strictSame(answers.withoutSuccess, [])
  // A condition that is stored in `alert_progress`.
  await cluster.replicas[0]?.admin.send('POST', '/api/system/scheduler-control', { action: 'stop' })
  await until(
    () => cluster.sql`select from alerts`,
    rows => rows.length > 0
  )

  const transactions = readTransactions(await readFile(server.logFile, 'utf8'))
  const locked = transactions.map(statements => statements.flatMap(statement => locksOf(statement)))
  const shapes = new Set(locked.map(locks => [...new Set(locks.map(({ table }) => table))].join(' → ')))
  for (const shape of [...shapes].sort()) t.comment(shape)

  t.strictSame([...new Set(transactions.flatMap(violationsOf))], [])
  const seen = new Set(locked.flat().map(({ table }) => table))
  const expected = LOCK_ORDER.flatMap(({ tables }) => tables).filter(table => !NEVER_LOCKED.includes(table))
  t.strictSame(
    expected.filter(table => !seen.has(table)),
    [],
    'each table was locked'
  )
})
