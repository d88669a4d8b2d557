import t from 'tap'
import { together } from '../../src/jobs/together.ts'
import { captureLog } from '../support/app.ts'
import { testContext, tradingDatabase } from '../support/trading.ts'

t.test('the result of a job has the counts of all of its parts', async t => {
  const { context } = testContext(await tradingDatabase(t))
  const job = together(
    async () => ({ read: 1 }),
    async () => ({ booked: 2 })
  )
  t.strictSame(await job(context), { read: 1, booked: 2 })
})

t.test('a job fails when one of its parts failed, after the others have ended', async t => {
  const { context } = testContext(await tradingDatabase(t))
  const ended: string[] = []
  const job = together(
    async () => {
      throw new Error('no ledger')
    },
    async () => {
      await new Promise(resolve => setImmediate(resolve))
      ended.push('fills')
      return {}
    }
  )
  await t.rejects(job(context), { message: 'no ledger' })
  t.strictSame(ended, ['fills'])
})

t.test('the job fails with the first of several errors, and the others are in the log', async t => {
  const { lines, logger } = captureLog()
  const { context } = testContext(await tradingDatabase(t), { log: logger })
  const fail = (message: string) => async () => {
    throw new Error(message)
  }
  await t.rejects(together(fail('no ledger'), async () => ({}), fail('no fills'))(context), { message: 'no ledger' })
  t.strictSame(
    lines.map(({ level, msg, err }) => [level, msg, Object(err).message]),
    [[50, 'a further part of the job failed', 'no fills']]
  )
})

t.test('parts with a count of the same name are an error, because one of them would be lost', async t => {
  const { context } = testContext(await tradingDatabase(t))
  const job = together(
    async () => ({ failed: 1, read: 1 }),
    async () => ({ booked: 2, failed: 0 })
  )
  await t.rejects(job(context), { message: 'two parts of the job have a count failed' })
})
