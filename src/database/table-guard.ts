import { LOCK_ORDER } from './lock-order.ts'

/** How long a statement may wait for a lock on a table that another session holds. */
const LOCK_WAIT = '250ms'
/** Rows that need more memory than `WORK_MEM`, so that the server writes a temporary file of about 60 kB. */
const ROWS = 4_000
const WORK_MEM = '64kB'

/**
 * Statements that fail when this replica could not write to one of its tables: a table is missing, another session has
 * locked it, or the disk is full. They change nothing, and hold their locks until the end of the transaction. They are
 * sent in front of another statement, in the same message, so that they cost no network round trip.
 */
export const TABLE_GUARD = [
  `set local lock_timeout = '${LOCK_WAIT}'`,
  `lock table ${LOCK_ORDER.flatMap(({ tables }) => tables).join(', ')} in row exclusive mode`,
  `set local work_mem = '${WORK_MEM}'`,
  `select count(*) from generate_series(1, ${ROWS})`
].join('; ')
