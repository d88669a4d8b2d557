// Compares the statements of all jobs and admin actions, from the log of Postgres, with the order of locks.
import { readFile } from 'node:fs/promises'
import t from 'tap'
import { LOCK_ORDER } from '../../src/database/lock-order.ts'
import { toDecimal } from '../../src/domain/decimal.ts'
import type { PositionSide } from '../../src/domain/position.ts'
import { recordPositionAdjustment } from '../../src/trading/position-adjustment.ts'
import { type Cluster, load, startCluster } from '../support/cluster-load.ts'
import { locksOf, readTransactions, TRACE_SETTINGS, violationsOf } from '../support/lock-trace.ts'
import { startTestPostgres } from '../support/postgres.ts'
import { until } from '../support/replica.ts'

const LOAD_MS = 15_000
/** The load lasts at most so much longer on a busy machine. */
const MAX_LOAD_MS = 20 * LOAD_MS
/** Tables that only the order-entry side, migrations, or triggers write. The log has no statements of triggers. */
const NEVER_LOCKED = ['schema_version', 'strategies', 'strategy_accounts', 'strategy_capital', 'book_totals']
/** Tables that the test has locked after the load. */
const LOCKED_LATER = ['position_adjustments', 'alert_progress']

/** Tables of `LOCK_ORDER` that no transaction has locked. */
function notLocked(transactions: readonly string[][]): string[] {
  const seen = new Set(transactions.flat().flatMap(statement => locksOf(statement).map(({ table }) => table)))
  return LOCK_ORDER.flatMap(({ tables }) => tables).filter(table => !NEVER_LOCKED.includes(table) && !seen.has(table))
}

/** The commands of Telegram that were confirmed and changed something. */
async function confirmed({ sql }: Cluster): Promise<string[]> {
  const rows = await sql<{ action: string }[]>`
    select distinct action from audit_log
    where actor like 'telegram:%' and outcome = 'succeeded'
      and action in ('telegram /run', 'telegram /pause', 'telegram /resume', 'telegram /stop', 'telegram /start')`
  return rows.map(({ action }) => action)
}

/** Adjusts a position as the command does for a reported difference. */
async function adjustPosition({ sql, database }: Cluster) {
  const [position] = await sql<{ account_id: string; symbol: string; side: PositionSide; amount: string }[]>`
    select holder_account_id::text as account_id, symbol, position_side as side, (-quantity)::text as amount
    from strategy_positions where market_type = 'FUTURES' and quantity <> 0 order by 1, 2, 3 limit 1`
  const amount = toDecimal(position?.amount ?? '')
  if (position === undefined || amount === null) throw new Error('no position of a perpetual')
  const { account_id: accountId, symbol, side: positionSide } = position
  const adjustment = { accountId, symbol, positionSide, amount, reason: 'a test' }
  return database.transaction(tx => recordPositionAdjustment(tx, adjustment, 'a test', null))
}

t.test('every transaction of the service locks tables in the order of LOCK_ORDER', async t => {
  const server = await startTestPostgres(t, { maxConnections: 150 })
  const cluster = await startCluster(t, { url: server.url, directUrl: server.url })
  for (const [name, value] of Object.entries(TRACE_SETTINGS)) {
    await server.query(`alter system set ${name} = '${value}'`)
  }
  await server.query('select pg_reload_conf()')
  const read = async () => readTransactions(await readFile(server.logFile, 'utf8'))
  const lastMs = performance.now() + MAX_LOAD_MS
  const answers = await load(
    cluster,
    LOAD_MS,
    undefined,
    async ({ withoutSuccess }) =>
      performance.now() > lastMs ||
      (withoutSuccess.length === 0 &&
        (await confirmed(cluster)).length > 1 &&
        notLocked(await read()).every(table => LOCKED_LATER.includes(table)))
  )
  t.strictSame(answers.withoutSuccess, [])
  const commands = await confirmed(cluster)
  t.ok(commands.length > 1, `commands of Telegram that changed something: ${commands.join(', ')}`)
  // A condition that is stored in `alert_progress`.
  await cluster.replicas[0]?.admin.send('POST', '/api/system/scheduler-control', { action: 'stop' })
  await until(
    () => cluster.sql`select from alerts`,
    rows => rows.length > 0
  )

  t.equal(await adjustPosition(cluster), true)

  const transactions = await read()
  const locked = transactions.map(statements => statements.flatMap(statement => locksOf(statement)))
  const shapes = new Set(locked.map(locks => [...new Set(locks.map(({ table }) => table))].join(' → ')))
  for (const shape of [...shapes].sort()) t.comment(shape)

  t.strictSame([...new Set(transactions.flatMap(violationsOf))], [])
  t.strictSame(notLocked(transactions), [], 'each table was locked')
})
