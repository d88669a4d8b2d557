import t from 'tap'
import type { Database } from '../../src/database/database.ts'
import { limitedTransaction, TRANSACTION_DEADLINE_MS } from '../../src/scheduler/transaction.ts'
import { tradingDatabase } from '../support/trading.ts'

t.test('the server ends a transaction whose client sends nothing for 5 s', async t => {
  const database = await tradingDatabase(t)
  const setting = () =>
    limitedTransaction(database, async tx => (await tx`show idle_in_transaction_session_timeout`)[0])
  t.strictSame({ ...(await setting()) }, { idle_in_transaction_session_timeout: '5s' })
})

t.test('the deadline of a transaction is 8 s at most', async t => {
  const calls: unknown[] = []
  const database = {
    transaction: async (_work: unknown, options: unknown) => {
      calls.push(options)
    }
  } as unknown as Database
  const work = async () => 1
  for (const options of [undefined, {}, { deadlineMs: 3_000 }, { deadlineMs: 9_000, kind: 'sweep' }])
    await limitedTransaction(database, work, options)
  t.equal(TRANSACTION_DEADLINE_MS, 8_000)
  t.strictSame(
    calls,
    [8_000, 8_000, 3_000, 8_000].map((deadlineMs, call) => ({ deadlineMs, kind: call < 3 ? String(work) : 'sweep' }))
  )
})
