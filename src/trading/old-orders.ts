// @FEAT:trading @COMP:service @TYPE:core
import type { TransactionSql } from '../database/client.ts'
import type { Millis } from '../domain/millis.ts'
import type { FillReading } from './fill-readings.ts'

/** A reading of the old orders that are open. */
export interface OpenOrdersSeen {
  /** Their ids. */
  open: ReadonlySet<string>
  /** Whether all rows of the list could be read: otherwise no order is found to be closed. */
  isWhole: boolean
  at: Millis
  /** All fills of before this time were read. */
  readUntil: Millis
}

/**
 * Records which old orders are open. One that is closed is kept until all fills of before it was found to be closed were
 * read. Idempotent.
 *
 * @returns the ids of those that were open and are closed, whose fills must be read
 */
export async function rememberOldOrders(
  tx: TransactionSql,
  { accountId, marketType }: Pick<FillReading, 'accountId' | 'marketType'>,
  { open, isWhole, at, readUntil }: OpenOrdersSeen
): Promise<string[]> {
  const [row] = await tx<{ open_orders: Record<string, Millis | null> }[]>`
    select open_orders from fill_readings where account_id = ${accountId} and market_type = ${marketType}`
  const closed = Object.entries(row?.open_orders ?? {})
    .filter(([id, closedAt]) => !open.has(id) && (closedAt === null || closedAt >= readUntil))
    .map(([id, closedAt]) => [id, closedAt ?? (isWhole ? at : null)] as const)
  const orders = JSON.stringify(Object.fromEntries([...closed, ...[...open].map(id => [id, null] as const)]))
  await tx`
    update fill_readings set open_orders = ${orders}::text::jsonb
    where account_id = ${accountId} and market_type = ${marketType} and open_orders <> ${orders}::text::jsonb`
  return closed.map(([id]) => id)
}
