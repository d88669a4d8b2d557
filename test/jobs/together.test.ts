import t from 'tap'
import { together } from '../../src/jobs/together.ts'
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
