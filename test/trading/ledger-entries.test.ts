import t from 'tap'
import type { Database } from '../../src/database/database.ts'
import { LEDGER_KINDS, type LedgerEntry, type LedgerKind } from '../../src/domain/ledger-entry.ts'
import { recordLedgerEntries } from '../../src/trading/ledger-entries.ts'
import { seedAccount, tradingDatabase } from '../support/trading.ts'

const AT = Date.UTC(2026, 10, 22, 12)

function entry(changes: Partial<LedgerEntry> = {}): LedgerEntry {
  return {
    exchangeEntryId: '1',
    asset: 'USDT',
    amount: '-0.12345678901234567890',
    kind: 'funding',
    exchangeKind: 'FUNDING_FEE',
    exchangeSymbol: 'BTCUSDT',
    at: AT,
    ...changes
  }
}

async function rowsOf(database: Database) {
  return await database.run(
    sql => sql`
      select wallet, kind, exchange_entry_id as id, asset, amount, symbol, at,
        conflict - 'listed_at' as conflict
      from ledger_entries order by entry_id`
  )
}

t.test('an entry that is listed again is one row, with all digits and the time of the exchange', async t => {
  const database = await tradingDatabase(t)
  const { accountId } = await seedAccount(database)
  const wallet = { accountId, wallet: 'FUTURES' } as const
  const record = () => database.transaction(tx => recordLedgerEntries(tx, wallet, [entry(), entry()]))
  t.strictSame(await record(), { recorded: 1, conflicts: [] })
  t.strictSame(await record(), { recorded: 0, conflicts: [] })
  t.strictSame(
    [...(await rowsOf(database))],
    [
      {
        wallet: 'FUTURES',
        kind: 'funding',
        id: '1',
        asset: 'USDT',
        amount: '-0.12345678901234567890',
        symbol: 'BTCUSDT',
        at: new Date(AT),
        conflict: null
      }
    ]
  )
})

t.test('an id is one entry per account, wallet and kind', async t => {
  const database = await tradingDatabase(t)
  const [first, second] = [await seedAccount(database), await seedAccount(database)]
  const entries = [entry(), entry({ kind: 'rebate' })]
  for (const { accountId } of [first, second]) {
    for (const wallet of ['SPOT', 'FUTURES'] as const) {
      const result = await database.transaction(tx => recordLedgerEntries(tx, { accountId, wallet }, entries))
      t.strictSame(result, { recorded: 2, conflicts: [] })
    }
  }
  t.equal((await rowsOf(database)).length, 8)
})

t.test(
  'an entry that is listed with another amount later keeps its amount, and the other is recorded once',
  async t => {
    const database = await tradingDatabase(t)
    const { accountId } = await seedAccount(database)
    const record = (...entries: LedgerEntry[]) =>
      database.transaction(tx => recordLedgerEntries(tx, { accountId, wallet: 'FUTURES' }, entries))
    await record(entry({ amount: '1.50' }))
    t.strictSame(await record(entry({ amount: '1.5' })), { recorded: 0, conflicts: [] }, 'the same amount')
    const conflicts = [{ kind: 'funding', exchangeEntryId: '1' }]
    t.strictSame(await record(entry({ amount: '2' })), { recorded: 0, conflicts })
    t.strictSame(await record(entry({ amount: '2' })), { recorded: 0, conflicts: [] }, 'reported once')
    t.strictSame(await record(entry({ amount: '2', asset: 'BNB' })), { recorded: 0, conflicts })
    const rows = await rowsOf(database)
    t.strictSame(
      rows.map(({ amount, asset, conflict }) => ({ amount, asset, conflict })),
      [{ amount: '1.50', asset: 'USDT', conflict: { amount: '2', asset: 'BNB' } }]
    )
  }
)

t.test('an answer that lists one id with two amounts records the first, and the other as a conflict', async t => {
  const database = await tradingDatabase(t)
  const { accountId } = await seedAccount(database)
  const listed = [entry({ amount: '1' }), entry({ amount: '2' }), entry({ exchangeEntryId: '2' })]
  const record = () => database.transaction(tx => recordLedgerEntries(tx, { accountId, wallet: 'FUTURES' }, listed))
  t.strictSame(await record(), { recorded: 2, conflicts: [{ kind: 'funding', exchangeEntryId: '1' }] })
  t.strictSame(await record(), { recorded: 0, conflicts: [] })
})

t.test('the table accepts every kind, and no other', async t => {
  const database = await tradingDatabase(t)
  const { accountId } = await seedAccount(database)
  const insert = (kind: LedgerKind | 'fee') =>
    database.run(
      sql => sql`
        insert into ledger_entries (account_id, wallet, asset, amount, kind, exchange_kind, exchange_entry_id, at)
        values (${accountId}, 'SPOT', 'BTC', 1, ${kind}, 'word', '1', now())`
    )
  for (const kind of LEDGER_KINDS) await insert(kind)
  const failure = await insert('fee').then(
    () => null,
    (err: { code: string }) => err.code
  )
  t.equal(failure, '23514')
  t.equal((await rowsOf(database)).length, LEDGER_KINDS.length)
})
