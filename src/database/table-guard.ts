import { LOCK_ORDER } from './lock-order.ts'

/** How long a statement may wait for a lock on a table that another session holds. */
const LOCK_WAIT = '250ms'
/** Rows that need more memory than `WORK_MEM`, so that the server writes a temporary file of about 60 kB. */
const ROWS = 4_000
const WORK_MEM = '64kB'

/** Tables that the service never writes to: its role may have no right to. */
export const READ_ONLY_TABLES: readonly string[] = [
  'schema_version',
  'strategies',
  'strategy_accounts',
  'strategy_capital'
]

const WRITTEN_TABLES = LOCK_ORDER.flatMap(({ tables }) => tables).filter(table => !READ_ONLY_TABLES.includes(table))

/**
 * Statements that fail when this replica could not use one of its tables: a table is missing, another session has locked
 * it, its role has no right to, or the disk is full. They change nothing, and hold their locks until the end of the
 * transaction. They are sent in front of another statement, in the same message, so that they cost no network round trip.
 */
export const TABLE_GUARD = [
  `set local lock_timeout = '${LOCK_WAIT}'`,
  `lock table ${READ_ONLY_TABLES.join(', ')} in access share mode`,
  `lock table ${WRITTEN_TABLES.join(', ')} in row exclusive mode`,
  `set local work_mem = '${WORK_MEM}'`,
  `select count(*) from generate_series(1, ${ROWS})`
].join('; ')
