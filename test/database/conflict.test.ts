import t, { type Test } from 'tap'
import type { TransactionSql } from '../../src/database/client.ts'
import { CONFLICT_RETRIES, repeatOnConflict } from '../../src/database/conflict.ts'
import { Database } from '../../src/database/database.ts'
import { DatabaseUnavailableError } from '../../src/database/failure.ts'
import { captureLog } from '../support/app.ts'
import { codeOf } from '../support/code-of.ts'
import { createTestDatabase } from '../support/database.ts'

/**
 * A database with two counters, and a function that fails with an SQLSTATE at its first calls. Sequences keep their value
 * through a rollback, so the function counts the calls of all attempts.
 */
async function prepared(t: Test) {
  const { url } = await createTestDatabase(t)
  const { lines, logger } = captureLog()
  const database = new Database({ max: 4, applicationName: 'test', log: logger })
  database.open(url)
  t.teardown(() => database.close(0))
  await database.run(sql => sql`create table counters (id int primary key, value int not null)`)
  await database.run(sql => sql`insert into counters values (1, 0), (2, 0)`)
  await database.run(sql => sql`create sequence calls`)
  await database.run(
    sql => sql`
      create function fail_at_first(times int, state text) returns bigint language plpgsql as $$
        declare call bigint := nextval('calls');
        begin
          if call <= times then raise exception 'made up' using errcode = state; end if;
          return call;
        end $$`
  )
  const calls = async () => {
    const [row] = await database.run(sql => sql<{ calls: string }[]>`select last_value as calls from calls`)
    return Number(row?.calls)
  }
  const repeated = () => lines.filter(({ msg }) => msg === 'repeated after a database conflict').length
  return { database, calls, repeated }
}

function event() {
  let happen: () => void = () => undefined
  const happened = new Promise<void>(resolve => {
    happen = resolve
  })
  return { happen, happened }
}

/** The code of the error and of its cause. */
async function failureOf(promise: Promise<unknown>) {
  try {
    await promise
  } catch (err) {
    if (!(err instanceof DatabaseUnavailableError)) throw err
    const { cause } = err
    return { code: err.code, cause: cause instanceof Error && 'code' in cause ? cause.code : cause }
  }
  throw new Error('it was expected to fail')
}

t.test('the victim of a deadlock is repeated, and both transactions succeed', async t => {
  const { database, repeated } = await prepared(t)
  const locked = { 1: event(), 2: event() }
  let attempts = 0
  const increment = (tx: TransactionSql, id: 1 | 2) => tx`update counters set value = value + 1 where id = ${id}`
  const both = (first: 1 | 2, second: 1 | 2) =>
    database.transaction(async tx => {
      attempts++
      await increment(tx, first)
      locked[first].happen()
      await locked[second].happened
      await increment(tx, second)
    })
  await Promise.all([both(1, 2), both(2, 1)])
  t.equal(attempts, 3, 'one of the two transactions was repeated once')
  t.equal(repeated(), 1, 'the repetition is logged')
  const rows = await database.run(sql => sql<{ value: number }[]>`select value from counters order by id`)
  t.strictSame(
    rows.map(({ value }) => value),
    [2, 2],
    'each transaction has taken effect once'
  )
  t.strictSame(database.usage().calls.failed, 0)
})

for (const state of ['40P01', '40001']) {
  t.test(`a transaction that fails with ${state} each time is repeated a bounded number of times`, async t => {
    const { database, calls } = await prepared(t)
    const failure = await failureOf(database.transaction(tx => tx`select fail_at_first(100, ${state})`))
    t.strictSame(failure, { code: 'database_refused', cause: state })
    t.equal(await calls(), 1 + CONFLICT_RETRIES)
  })

  t.test(`a transaction with retry: false fails with the first ${state}`, async t => {
    const { database, calls } = await prepared(t)
    const work = (tx: TransactionSql) => tx`select fail_at_first(100, ${state})`
    t.strictSame(await failureOf(database.transaction(work, { retry: false })), {
      code: 'database_refused',
      cause: state
    })
    t.equal(await calls(), 1)
  })

  t.test(`a single statement that fails with ${state} is repeated`, async t => {
    const { database, repeated } = await prepared(t)
    const rows = await database.run(sql => sql<{ call: string }[]>`select fail_at_first(2, ${state}) as call`)
    t.strictSame(
      rows.map(({ call }) => call),
      ['3']
    )
    t.equal(repeated(), 2)
  })
}

t.test('a statement that fails for another reason is not repeated', async t => {
  const { database, calls, repeated } = await prepared(t)
  t.equal(await codeOf(database.run(sql => sql`select fail_at_first(100, '23505')`)), '23505')
  t.equal(await calls(), 1)
  t.equal(repeated(), 0)
})

t.test('the statements of a repeated transaction have only the rest of the deadline', async t => {
  const { database } = await prepared(t)
  const limits: number[] = []
  await database.transaction(
    async tx => {
      const [row] = await tx<{ ms: number }[]>`
        select setting::int as ms from pg_settings where name = 'statement_timeout'`
      limits.push(row?.ms ?? 0)
      await tx`select pg_sleep(0.05)`
      await tx`select fail_at_first(1, '40001')`
    },
    { deadlineMs: 5_000 }
  )
  const [first = 0, second = 0, ...more] = limits
  t.strictSame(more, [])
  t.ok(first <= 5_000, `${first}`)
  t.ok(second > 0 && second <= first - 50, `${second} after ${first}`)
})

t.test('after the deadline nothing is repeated', async t => {
  const conflict = Object.assign(new Error('deadlock detected'), { name: 'PostgresError', code: '40P01' })
  let attempts = 0
  const attempt = async () => {
    attempts++
    throw conflict
  }
  const failure = await repeatOnConflict(attempt, { deadlineMs: 0 }).catch((err: unknown) => err)
  t.equal(failure, conflict)
  t.equal(attempts, 1)
})
