import t from 'tap'
import type { IncompletePeriod } from '../../src/trading/ledger-gaps.ts'
import { accountLedgers, recordLedgerAttempt, recordLedgerReading } from '../../src/trading/ledger-readings.ts'
import { seedAccount, tradingDatabase } from '../support/trading.ts'

const AT = Date.UTC(2026, 10, 22, 12, 0, 0, 123)

t.test('a reading is recorded to the millisecond', async t => {
  const database = await tradingDatabase(t)
  const { accountId } = await seedAccount(database)
  const wallet = { accountId, wallet: 'FUTURES' } as const
  const incomplete: IncompletePeriod[] = [{ from: AT - 10, until: AT, code: 'permission' }]
  const readings = async () => (await database.transaction(accountLedgers)).get(accountId)?.readings
  t.strictSame(await readings(), {})
  await database.transaction(tx => recordLedgerReading(tx, wallet, { readUntil: AT, incomplete }, AT + 7))
  t.strictSame(await readings(), { FUTURES: { readUntil: AT, incomplete } })
  await database.transaction(tx => recordLedgerReading(tx, wallet, { readUntil: AT - 1, incomplete: [] }, AT + 6))
  t.strictSame(await readings(), { FUTURES: { readUntil: AT - 1, incomplete: [] } })
  const rows = await database.run(sql => sql`select listed_until from ledger_readings`)
  t.strictSame([...rows], [{ listed_until: new Date(AT + 7) }], 'the latest end is kept')
})

t.test('accounts without a reading come first, then the one that was tried longest ago', async t => {
  const database = await tradingDatabase(t)
  const [first, second, third] = [await seedAccount(database), await seedAccount(database), await seedAccount(database)]
  const order = async () => [...(await database.transaction(accountLedgers)).keys()]
  const attempt = ({ accountId }: { accountId: string }) =>
    database.transaction(tx => recordLedgerAttempt(tx, { accountId, wallet: 'SPOT' }, AT))
  await attempt(first)
  await attempt(second)
  t.strictSame(await order(), [third.accountId, first.accountId, second.accountId])
  await attempt(first)
  t.strictSame(await order(), [third.accountId, second.accountId, first.accountId])
})

t.test('a failed attempt of a wallet that was never read keeps the beginning of its ledger', async t => {
  const database = await tradingDatabase(t)
  const { accountId } = await seedAccount(database)
  const wallet = { accountId, wallet: 'SPOT' } as const
  await database.transaction(tx => recordLedgerAttempt(tx, wallet, AT))
  await database.transaction(tx => recordLedgerAttempt(tx, wallet, AT + 5))
  const { readings } = (await database.transaction(accountLedgers)).get(accountId) ?? {}
  t.strictSame(readings, { SPOT: { readUntil: AT, incomplete: [] } })
})
