// @FEAT:trading @COMP:service @TYPE:core
import { MINUTE } from '../async/durations.ts'
import type { Sql, TransactionSql } from '../database/client.ts'
import type { Database } from '../database/database.ts'
import type { Decimal } from '../domain/decimal.ts'
import { ExchangeError } from '../exchanges/exchange-error.ts'
import type { MinutePrice } from '../exchanges/minute-prices.ts'
import { anyOf } from './any-of.ts'
import { bookAgain, type RecordedRow, recordedRows } from './pair-completion.ts'

/** Executions of one run. Those that cannot be valued must not keep others from it: they are chosen at random. */
const VALUED_AT_ONCE = 200
/** The klines that one run reads at most. */
const PRICES_AT_ONCE = 50

/**
 * Values fees in a third asset that had no price when they were recorded, at the price of their minute. The positions,
 * round trips and days of the executions follow. A bounded number; the next run continues. Idempotent.
 *
 * @returns the numbers of executions that were valued, and that were tried and were not
 */
export async function valueFees(
  database: Database,
  transaction: <T>(work: (tx: TransactionSql) => Promise<T>) => Promise<T>,
  minutePrice: MinutePrice,
  signal: AbortSignal
): Promise<{ valued: number; unvalued: number }> {
  const rows = await database.run(sql => withoutValue(sql))
  const prices = new Map<string, Decimal | null>()
  for (const row of rows) {
    const key = keyOf(row)
    if (row.fee_asset === null || prices.has(key) || prices.size >= PRICES_AT_ONCE) continue
    signal.throwIfAborted()
    prices.set(key, await priceOf(row, row.fee_asset, minutePrice, signal))
  }
  const known = rows.filter(row => (prices.get(keyOf(row)) ?? null) !== null)
  if (known.length > 0) {
    await transaction(async tx => {
      // Under the locks of their orders, and not those that were replaced or valued meanwhile.
      await tx`
        select from orders where order_id = ${anyOf(
          tx,
          known.map(({ order_id }) => order_id)
        )}
        order by order_id for no key update`
      const ids = known.map(({ execution_id }) => execution_id)
      const left = await recordedRows(tx, tx`e.fee_value is null and e.execution_id = ${anyOf(tx, ids)}`)
      await bookAgain(tx, left, row => prices.get(keyOf(row)) ?? null)
    })
  }
  return { valued: known.length, unvalued: rows.length - known.length }
}

async function priceOf(
  row: RecordedRow,
  asset: string,
  minutePrice: MinutePrice,
  signal: AbortSignal
): Promise<Decimal | null> {
  try {
    return await minutePrice(row.exchange, asset, row.quote, row.executed_at.getTime(), signal)
  } catch (err) {
    // The next run tries again.
    if (!(err instanceof ExchangeError)) throw err
    return null
  }
}

function withoutValue(sql: Sql) {
  return recordedRows(
    sql,
    sql`e.fee_value is null and e.fee_asset is not null and e.quote is not null
      order by random() limit ${VALUED_AT_ONCE}`
  )
}

function keyOf({ exchange, fee_asset, quote, executed_at }: RecordedRow): string {
  return [exchange, fee_asset, quote, Math.floor(executed_at.getTime() / MINUTE)].join(' ')
}
