// @FEAT:exchanges @COMP:service @TYPE:core
import { HOUR, SECOND } from '../async/durations.ts'
import type { Sql, TransactionSql } from '../database/client.ts'
import type { Database } from '../database/database.ts'
import type { Instrument } from '../domain/instrument.ts'
import type { Market } from '../domain/market.ts'

/** A list is read from the exchange again after this time. */
export const INSTRUMENTS_TTL_MS = HOUR

/** The instruments of a market as the table has them. */
export interface StoredInstruments {
  instruments: ReadonlyMap<string, Instrument>
  /** The time since the list was read from the exchange. */
  ageMs: number
}

/** A subquery: base and quote of every stored instrument, for statements of other modules that join their tables with it. */
export function listedPairs(sql: Sql | TransactionSql) {
  return sql`(select exchange, market_type, exchange_symbol, symbol, base, quote, quantity_step from instruments)`
}

/** The stored list of a market; null when there is none. @throws {DatabaseUnavailableError} */
export async function storedInstruments(
  database: Database,
  { exchange, marketType }: Market
): Promise<StoredInstruments | null> {
  const rows = await database.run(
    sql => sql<(Instrument & { ageMs: number })[]>`
      select
        exchange_symbol as "exchangeSymbol", symbol, base, quote, contract_value as "contractValue",
        price_step as "priceStep", quantity_step as "quantityStep", trading,
        (extract(epoch from now() - max(read_at) over ()) * 1000)::float8 as "ageMs"
      from instruments where exchange = ${exchange} and market_type = ${marketType}`
  )
  const [first] = rows
  if (first === undefined) return null
  const instruments = new Map(rows.map(({ ageMs: _, ...instrument }) => [instrument.exchangeSymbol, instrument]))
  return { instruments, ageMs: Math.max(0, first.ageMs) }
}

/**
 * Stores the list of a market that was read now. Instruments that are absent from a complete list do not trade any more;
 * their rows stay, because orders and positions refer to them. A row is written when it changed, and once an hour to record the time
 * of reading; the first row records each reading. Rows are locked in the order of their keys. Idempotent.
 *
 * @throws {DatabaseUnavailableError}
 */
export async function storeInstruments(
  database: Database,
  { exchange, marketType }: Market,
  instruments: readonly Instrument[],
  isComplete = true
): Promise<void> {
  // Twice in a list: one statement cannot write a row twice.
  const unique = new Map(instruments.map(instrument => [instrument.exchangeSymbol, instrument]))
  const rows = JSON.stringify([...unique.values()])
  await database.run(
    sql => sql`
      with listed as materialized (
        select * from jsonb_to_recordset(${rows}::text::jsonb) as r(
          "exchangeSymbol" text, symbol text, base text, quote text, "contractValue" numeric, "priceStep" numeric,
          "quantityStep" numeric, trading boolean
        )
      ), new_state as (
        select * from listed
        union all
        select exchange_symbol, symbol, base, quote, contract_value, price_step, quantity_step, false
        from instruments
        where ${isComplete} and exchange = ${exchange} and market_type = ${marketType}
          and exchange_symbol not in (select "exchangeSymbol" from listed)
      )
      insert into instruments as i (
        exchange, market_type, exchange_symbol, symbol, base, quote, contract_value, price_step, quantity_step, trading,
        read_at
      )
      select ${exchange}, ${marketType}, new_state.*, now() from new_state order by "exchangeSymbol"
      on conflict (exchange, market_type, exchange_symbol) do update set
        symbol = excluded.symbol, base = excluded.base, quote = excluded.quote,
        contract_value = excluded.contract_value, price_step = excluded.price_step,
        quantity_step = excluded.quantity_step, trading = excluded.trading, read_at = excluded.read_at
      where i.read_at <= now() - ${INSTRUMENTS_TTL_MS / SECOND} * interval '1 second'
        or i.exchange_symbol = (select min("exchangeSymbol") from listed)
        or (i.symbol, i.base, i.quote, i.contract_value, i.price_step, i.quantity_step, i.trading) is distinct from
          (excluded.symbol, excluded.base, excluded.quote, excluded.contract_value, excluded.price_step,
          excluded.quantity_step, excluded.trading)`
  )
}
