// @FEAT:trading @COMP:service @TYPE:core
import type { TransactionSql } from '../database/client.ts'
import type { Instrument } from '../domain/instrument.ts'
import type { MarketType } from '../domain/market.ts'
import type { Millis } from '../domain/millis.ts'

interface Market {
  accountId: string
  marketType: MarketType
}

/** A symbol of an account, as the exchange writes it, whose fills each run reads. */
export interface FollowedSymbol {
  symbol: string
  /** Until when its fills were read; null where that is until when the whole market was read. */
  readUntil: Millis | null
}

/**
 * Records that each run reads the fills of symbols. One that is new is read from `begin` on: an account may have traded it
 * before anything of it was known. Idempotent.
 *
 * @param begin when the books of the market begin; null when nothing of it was read yet
 * @returns all symbols that are followed
 */
export async function followSymbols(
  tx: TransactionSql,
  { accountId, marketType }: Market,
  symbols: Iterable<string>,
  begin: Millis | null
): Promise<FollowedSymbol[]> {
  const from = begin === null ? null : new Date(begin)
  await tx`
    insert into fill_symbols as known (account_id, market_type, exchange_symbol, is_followed, read_until)
    select ${accountId}, ${marketType}, symbol, true, ${from}::timestamptz
    from jsonb_array_elements_text(${JSON.stringify([...new Set(symbols)])}::text::jsonb) symbol
    order by symbol
    on conflict (account_id, market_type, exchange_symbol) do update set is_followed = true where not known.is_followed`
  const rows = await tx<{ exchange_symbol: string; read_until: Date | null }[]>`
    select exchange_symbol, read_until from fill_symbols
    where account_id = ${accountId} and market_type = ${marketType} and is_followed order by exchange_symbol`
  return rows.map(row => ({ symbol: row.exchange_symbol, readUntil: row.read_until?.getTime() ?? null }))
}

/**
 * Records until when the fills of followed symbols were read, which never decreases. Idempotent.
 *
 * @param readUntil null: they are read with their market from there on
 */
export async function recordSymbolsRead(
  tx: TransactionSql,
  { accountId, marketType }: Market,
  symbols: readonly string[],
  readUntil: Millis | null
): Promise<void> {
  const until = readUntil === null ? null : new Date(readUntil)
  await tx`
    update fill_symbols set
      read_until = case when ${until}::timestamptz is not null then greatest(read_until, ${until}::timestamptz) end
    where account_id = ${accountId} and market_type = ${marketType} and read_until is not null and exchange_symbol in (
      select jsonb_array_elements_text(${JSON.stringify(symbols)}::text::jsonb)
    )`
}

/** A symbol in which the cause of a difference may be. */
export interface SearchedSymbol {
  symbol: string
  /** Until when it was searched before; null if never. */
  readUntil: Millis | null
}

/**
 * The symbols of a wallet in which the account may have traded unnoticed: those with an asset of a reported difference, that
 * are not followed, and were not searched since the difference began. Those with two such assets come first.
 */
export async function symbolsToSearch(
  tx: TransactionSql,
  { accountId, marketType }: Market,
  instruments: Iterable<Instrument>,
  atMost: number
): Promise<SearchedSymbol[]> {
  const differences = await tx<{ asset: string; since: Date }[]>`
    select asset, since from book_differences
    where account_id = ${accountId} and wallet = ${marketType} and explained_at is null and unexplained_at is not null`
  if (differences.length === 0) return []
  const since = new Map(differences.map(difference => [difference.asset, difference.since.getTime()]))
  const listed = [...instruments].flatMap(({ exchangeSymbol: symbol, base, quote }) => {
    const times = [since.get(base), since.get(quote)].flatMap(time => time ?? [])
    return times.length === 0 ? [] : [{ symbol, since: Math.max(...times), assets: times.length }]
  })
  const rows = await tx<{ exchange_symbol: string; is_followed: boolean; read_until: Date | null }[]>`
    select exchange_symbol, is_followed, read_until from fill_symbols
    where account_id = ${accountId} and market_type = ${marketType}`
  const known = new Map(rows.map(row => [row.exchange_symbol, row]))
  return listed
    .map(one => ({ ...one, known: known.get(one.symbol) }))
    .filter(({ known, since }) => !known?.is_followed && (known?.read_until?.getTime() ?? -1) < since)
    .sort((a, b) => b.assets - a.assets || (a.symbol < b.symbol ? -1 : 1))
    .slice(0, atMost)
    .map(({ symbol, known }) => ({ symbol, readUntil: known?.read_until?.getTime() ?? null }))
}

/** Records until when a symbol that is not followed was searched. Idempotent. */
export async function recordSymbolSearched(
  tx: TransactionSql,
  { accountId, marketType }: Market,
  symbol: string,
  readUntil: Millis
): Promise<void> {
  await tx`
    insert into fill_symbols as known (account_id, market_type, exchange_symbol, is_followed, read_until)
    values (${accountId}, ${marketType}, ${symbol}, false, ${new Date(readUntil)})
    on conflict (account_id, market_type, exchange_symbol)
      do update set read_until = greatest(known.read_until, excluded.read_until) where not known.is_followed`
}
