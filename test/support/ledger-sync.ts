/** The job that reads ledgers, on a simulated exchange with one account. */
import { pino } from 'pino'
import type { Test } from 'tap'
import { Agent } from 'undici'
import { DAY } from '../../src/async/durations.ts'
import type { Database } from '../../src/database/database.ts'
import type { ExchangeName, MarketType } from '../../src/domain/market.ts'
import { ExchangeRegistry } from '../../src/exchanges/exchange-registry.ts'
import { syncExchangeLedger } from '../../src/jobs/sync-exchange-ledger.ts'
import type { JobContext } from '../../src/scheduler/job.ts'
import { SimulatedExchange } from './simulated-exchange/simulated-exchange.ts'
import { type SeededAccount, seedAccount, TestAccounts, testContext, tradingDatabase } from './trading.ts'
import { withoutWaits } from './without-waits.ts'

const credentials = { apiKey: 'key', apiSecret: 'secret', passphrase: 'passphrase' }

interface LogLine {
  msg: string
  code?: string
  from?: string
  until?: string
  [field: string]: unknown
}

/** @param options.ageMs the age of the account: the exchange's time before the start */
export async function ledgerSync(t: Test, { exchange: name = 'BINANCE' as ExchangeName, ageMs = DAY } = {}) {
  const database = await tradingDatabase(t)
  const simulated = await SimulatedExchange.start({ exchange: name })
  const dispatcher = new Agent()
  t.teardown(async () => {
    await dispatcher.close()
    await simulated.close()
  })
  const registry = new ExchangeRegistry({ dispatcher, urls: simulated.urls, ...withoutWaits() })
  const account = simulated.addAccount(credentials)
  const seeded = await seedAccount(database, { exchange: name })
  const start = Date.now()
  await database.run(
    sql => sql`update accounts set created_at = ${new Date(start - ageMs)} where account_id = ${seeded.accountId}`
  )
  const clientOf = ({ exchange }: { exchange: ExchangeName }, marketType: MarketType) =>
    registry.client({ exchange, marketType, credentials })
  const accounts = new TestAccounts([seeded], clientOf)
  const lines: LogLine[] = []
  const log = pino({ level: 'info' }, { write: text => lines.push(JSON.parse(text)) })
  /** @param atMs our clock, after the start of the test */
  const sync = (atMs = 0, overrides: Partial<JobContext> = {}, of = accounts) =>
    syncExchangeLedger({ accounts: of, now: () => start + atMs })(testContext(database, { log, ...overrides }).context)
  return { database, simulated, ledger: simulated.ledger, account, seeded, accounts, clientOf, lines, start, sync }
}

/** The recorded entries, in order of time. */
export async function entriesOf(database: Database) {
  return await database.run(
    sql => sql<{ wallet: string; kind: string; asset: string; amount: string }[]>`
      select wallet, kind, asset, amount::text as amount from ledger_entries order by at, entry_id`
  )
}

/** The sums of the recorded entries. */
export async function sumsOf(database: Database, { accountId }: SeededAccount) {
  const rows = await database.run(
    sql => sql<{ holding: string; total: string }[]>`
      select concat(wallet, ' ', asset) as holding, trim_scale(sum(amount))::text as total from ledger_entries
      where account_id = ${accountId} group by wallet, asset having sum(amount) <> 0 order by 1`
  )
  return Object.fromEntries(rows.map(({ holding, total }) => [holding, total]))
}

/** How far each wallet was read. */
export async function readingsOf(database: Database) {
  const rows = await database.run(
    sql => sql<{ wallet: string; read_until: Date; incomplete: { from: number; until: number; code: string }[] }[]>`
      select wallet, read_until, incomplete from ledger_readings order by wallet`
  )
  return Object.fromEntries(
    rows.map(({ wallet, read_until, incomplete }) => [wallet, { readUntil: read_until.getTime(), incomplete }])
  )
}
