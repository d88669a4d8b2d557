import t from 'tap'
import type { AuditEntry } from '../../src/auth/audit-log.ts'
import { type Refusal, Refusals } from '../../src/auth/refusals.ts'
import { captureLog } from '../support/app.ts'

const MINUTE = 60_000

/** A log of refusals whose clock and database the test controls. */
function controlled() {
  const { lines, logger } = captureLog()
  const writes: AuditEntry[][] = []
  const due: (() => void)[] = []
  let now = 0
  let broken = false
  const refusals = new Refusals({
    log: logger,
    audit: {
      recordAll: async entries => {
        if (broken) throw new Error('no connection')
        writes.push([...entries])
      }
    },
    timers: {
      now: () => now,
      after: (_ms, callback) => {
        due.push(callback)
        return () => due.splice(due.indexOf(callback), 1)
      },
      deadline: () => () => undefined
    }
  })
  const refuse = (fields: Partial<Refusal> = {}) =>
    refusals.record({
      code: 'FORBIDDEN',
      status: 403,
      actor: undefined,
      address: '192.0.2.1',
      action: 'GET /api/system/audit-log',
      requestId: 'a-1',
      ...fields
    })
  return {
    refusals,
    refuse,
    lines,
    writes,
    due,
    pass: (minutes: number) => {
      now += minutes * MINUTE
    },
    breakDatabase: (isBroken: boolean) => {
      broken = isBroken
    }
  }
}

/** The rows of a write: who, from where, what, and how often. */
function rowsOf(entries: readonly AuditEntry[] = []): unknown[][] {
  return entries.map(({ actor, address, action, details }) => [actor, address, action, details?.attempts])
}

const unauthenticated = { code: 'UNAUTHENTICATED', status: 401 }

t.test('equal refusals are one row after a minute, with who, from where, what and how often', async t => {
  const { refuse, refusals, writes, due } = controlled()
  for (let count = 0; count < 1_000; count++) refuse({ actor: 'vera' })
  refuse({ actor: 'vera', action: 'POST /api/system/cache-clear' })
  t.equal(writes.length, 0, 'a request writes nothing')
  t.equal(due.length, 1, 'one timer')
  due[0]?.()
  await refusals.flush()
  t.equal(writes.length, 1, 'one statement')
  t.hasStrict(writes[0]?.[0], { outcome: 'refused', requestId: 'a-1', details: { code: 'FORBIDDEN', status: 403 } })
  t.strictSame(rowsOf(writes[0]), [
    ['vera', '192.0.2.1', 'GET /api/system/audit-log', 1_000],
    ['vera', '192.0.2.1', 'POST /api/system/cache-clear', 1]
  ])
  await refusals.flush()
  t.equal(writes.length, 1, 'nothing is left')
})

t.test('requests without a session are counted per network, whatever they ask for', async t => {
  const { refuse, refusals, writes } = controlled()
  for (const action of ['GET /a', 'GET /b', 'POST /c']) refuse({ ...unauthenticated, action })
  for (const host of ['1', '2', 'ffff']) refuse({ ...unauthenticated, address: `2001:db8::${host}` })
  refuse({ ...unauthenticated, address: '2001:db8:0:1::1' })
  await refusals.flush()
  t.strictSame(rowsOf(writes[0]), [
    [undefined, '192.0.2.1', 'unauthenticated', 3],
    [undefined, '2001:db8::/64', 'unauthenticated', 3],
    [undefined, '2001:db8:0:1::1', 'unauthenticated', 1]
  ])
})

t.test('many networks fill neither the memory nor the table, and hide no user', async t => {
  const { refuse, refusals, writes, pass } = controlled()
  const flood = () => {
    for (let net = 0; net < 5_000; net++) refuse({ ...unauthenticated, address: `10.1.${net >> 8}.${net & 255}` })
  }
  flood()
  for (let user = 0; user < 3; user++) refuse({ actor: `user${user}` })
  await refusals.flush()
  t.equal(writes[0]?.length, 60)
  t.strictSame(
    writes[0]?.slice(0, 4).map(({ actor, action }) => [actor, action]),
    [
      ['user0', 'GET /api/system/audit-log'],
      ['user1', 'GET /api/system/audit-log'],
      ['user2', 'GET /api/system/audit-log'],
      [undefined, 'other_refusals']
    ]
  )
  t.hasStrict(writes[0]?.[3], { address: undefined, details: { attempts: 4_900 } })
  flood()
  await refusals.flush()
  t.equal(writes.length, 1, 'no row more within the minute')
  for (let minute = 0; minute < 30; minute++) {
    pass(1)
    flood()
    await refusals.flush()
    await refusals.flush()
  }
  t.equal(writes.length, 31)
  t.equal(writes.flat().length, 90, 'then one row a minute')
  const before = writes.length
  await refusals.close()
  const last = writes.slice(before).flat().length
  t.ok(last <= 102, `rows at the end: ${last}`)
  t.equal(
    writes.flat().reduce((sum, { details }) => sum + Number(details?.attempts), 0),
    32 * 5_000 + 3,
    'every request is counted'
  )
})

t.test('while the database is away refusals wait, and its end is reported once', async t => {
  const { refuse, refusals, writes, lines, breakDatabase, due } = controlled()
  breakDatabase(true)
  for (let round = 0; round < 3; round++) {
    refuse({ actor: 'vera' })
    await refusals.flush()
  }
  t.equal(due.length, 1, 'it is tried again')
  breakDatabase(false)
  await refusals.flush()
  t.strictSame(rowsOf(writes[0]), [['vera', '192.0.2.1', 'GET /api/system/audit-log', 3]])
  t.strictSame(
    lines.map(({ level, msg }) => [level, msg]),
    [
      [40, 'refusals not audited'],
      [30, 'refusals audited again']
    ]
  )
})

t.test('the shutdown writes what is pending, and leaves no timer', async t => {
  const { refuse, refusals, writes, due } = controlled()
  refuse()
  await refusals.close()
  t.strictSame(rowsOf(writes[0]), [[undefined, '192.0.2.1', 'GET /api/system/audit-log', 1]])
  t.equal(due.length, 0)
})
