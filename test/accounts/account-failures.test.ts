import t from 'tap'
import { failingAccounts, failureCode, recordFailures } from '../../src/accounts/account-failures.ts'
import { ExchangeError } from '../../src/exchanges/exchange-error.ts'
import { assertRows } from '../support/assert-rows.ts'
import { type SeededAccount, seedAccount, tradingDatabase } from '../support/trading.ts'

t.test('an account that fails again keeps the time of its first failure, until a run can read it', async t => {
  const database = await tradingDatabase(t)
  const [one, other] = [await seedAccount(database), await seedAccount(database)]
  const record = (jobId: string, failures: [string, string][]) =>
    database.transaction(tx => recordFailures(tx, jobId, new Map(failures)))
  const rows = () =>
    database.run(
      sql => sql`select account_id, job_id, error_code, since from account_failures order by job_id, account_id`
    )
  await record('a', [
    [one.accountId, 'timeout'],
    [other.accountId, 'clock']
  ])
  await record('b', [[one.accountId, 'timeout']])
  const [first] = await rows()
  await record('a', [[one.accountId, 'unavailable']])
  const again = await rows()
  assertRows(t, again, [
    { account_id: one.accountId, job_id: 'a', error_code: 'unavailable', since: first?.since },
    { account_id: one.accountId, job_id: 'b', error_code: 'timeout' }
  ])
  await record('a', [[one.accountId, 'unavailable']])
  t.strictSame([...(await rows())], [...again], 'a repeat changes nothing')
  await record('a', [])
  assertRows(t, await rows(), [{ job_id: 'b' }])
  await record('a', [[one.accountId, 'timeout']])
  const [begun] = await rows()
  t.not(Number(begun?.since), Number(first?.since), 'after a success the time begins again')
})

t.test(
  'accounts count after ten minutes, once also when two jobs fail, without those that are refused or inactive',
  async t => {
    const database = await tradingDatabase(t)
    const read = () => database.transaction(tx => failingAccounts(tx))
    const accounts: SeededAccount[] = []
    for (const exchange of ['UPBIT', 'UPBIT', 'UPBIT', 'UPBIT', 'OKX'] as const)
      accounts.push(await seedAccount(database, { exchange }))
    for (const job of ['a', 'b']) {
      const failures = new Map(accounts.map(({ accountId }) => [accountId, job === 'a' ? 'timeout' : 'clock']))
      await database.transaction(tx => recordFailures(tx, job, failures))
    }
    t.strictSame(await read(), [])
    const [refused, inactive, kept, recent] = accounts.map(({ accountId }) => accountId)
    await database.run(async sql => {
      await sql`update accounts set state = 'credentials_refused' where account_id = ${refused ?? ''}`
      await sql`update accounts set is_active = false where account_id = ${inactive ?? ''}`
      await sql`update account_failures set since = now() - interval '10 minutes' where account_id <> ${recent ?? ''}`
      await sql`update account_failures set since = now() - interval '9 minutes' where account_id = ${recent ?? ''}`
    })
    const nameOf = (id?: string) => accounts.find(({ accountId }) => accountId === id)?.name
    assertRows(t, await read(), [
      { exchange: 'OKX', count: 1, codes: ['clock', 'timeout'] },
      { exchange: 'UPBIT', count: 1, names: [nameOf(kept)], codes: ['clock', 'timeout'] }
    ])
  }
)

t.test('the reason of a failure is the code of the exchange error, or internal', async t => {
  t.equal(failureCode(new ExchangeError('timeout', { exchange: 'OKX', operation: 'balances' })), 'timeout')
  t.equal(failureCode(new Error('secret detail')), 'internal')
})
