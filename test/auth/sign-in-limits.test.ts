import t, { type Test } from 'tap'
import { type Admitted, SignInLimits } from '../../src/auth/sign-in-limits.ts'
import { Database } from '../../src/database/database.ts'
import { captureLog } from '../support/app.ts'
import { frozenDatabase } from '../support/migrated-database.ts'

async function limitsOf(t: Test, replicas = 1) {
  const { url, clock } = await frozenDatabase(t)
  const databases = Array.from({ length: replicas }, () => {
    const database = new Database({ max: 5, applicationName: 'test', log: captureLog('silent').logger })
    database.open(url)
    t.teardown(() => database.close())
    return database
  })
  const limits = databases.map(database => new SignInLimits(database, 'key'))
  return { limits, clock, limit: limits[0] as SignInLimits }
}

const ops = { kind: 'sign-in', name: 'ops', address: '192.0.2.1' } as const
const isAdmitted = (result: Admitted | { waitSeconds: number }): result is Admitted => 'slots' in result

t.test('as many concurrent attempts on two replicas are admitted as sequential ones', async t => {
  const { limits } = await limitsOf(t, 2)
  const attempts = Array.from({ length: 40 }, (_, i) => (limits[i % 2] as SignInLimits).slots(ops))
  const results = await Promise.all(attempts.map((slots, i) => (limits[i % 2] as SignInLimits).admit(slots)))
  t.equal(results.filter(isAdmitted).length, 5)
})

t.test('each failure after the free ones doubles the wait, up to a quarter of an hour', async t => {
  const { limit, clock } = await limitsOf(t)
  const waits: number[] = []
  for (let i = 0; i < 16; i++) {
    const result = await limit.admit(limit.slots(ops))
    t.ok(isAdmitted(result), `attempt ${i + 1}`)
    const refused = await limit.admit(limit.slots(ops))
    if (!isAdmitted(refused)) {
      waits.push(refused.waitSeconds)
      await clock.advance(refused.waitSeconds)
    } else {
      await limit.undecided(refused)
    }
  }
  t.strictSame(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900])
})

t.test('a wait ends when the database clock is set back', async t => {
  const { limit, clock } = await limitsOf(t)
  for (let i = 0; i < 5; i++) await limit.admit(limit.slots(ops))
  t.notOk(isAdmitted(await limit.admit(limit.slots(ops))))
  await clock.advance(-7_200)
  t.ok(isAdmitted(await limit.admit(limit.slots(ops))))
  t.strictSame(await limit.admit(limit.slots(ops)), { waitSeconds: 2 }, 'the failures still count')
})

t.test('failures are forgotten after an hour without one', async t => {
  const { limit, clock } = await limitsOf(t)
  for (let i = 0; i < 5; i++) await limit.admit(limit.slots(ops))
  t.notOk(isAdmitted(await limit.admit(limit.slots(ops))))
  await clock.advance(3_601)
  for (let i = 0; i < 5; i++) t.ok(isAdmitted(await limit.admit(limit.slots(ops))))
})

t.test('the right password clears the failures of its pair of name and address, not those of the address', async t => {
  const { limit, clock } = await limitsOf(t)
  for (let i = 0; i < 4; i++) await limit.admit(limit.slots(ops))
  const right = await limit.admit(limit.slots(ops))
  if (!isAdmitted(right)) throw new Error('not admitted')
  await limit.succeeded(right)
  for (let i = 0; i < 5; i++) t.ok(isAdmitted(await limit.admit(limit.slots(ops))), 'five are free again')

  for (let i = 9; i < 20; i++) await limit.admit(limit.slots({ ...ops, name: `name-${i}` }))
  t.strictSame(await limit.admit(limit.slots({ ...ops, name: 'another' })), { waitSeconds: 1 })
  await clock.advance(1)
  const own = await limit.admit(limit.slots({ ...ops, name: 'own' }))
  if (!isAdmitted(own)) throw new Error('not admitted')
  await limit.succeeded(own)
  await limit.admit(limit.slots({ ...ops, name: 'another' }))
  t.strictSame(
    await limit.admit(limit.slots({ ...ops, name: 'another' })),
    { waitSeconds: 2 },
    'a success of another user at the address does not reset it'
  )
})

t.test('twenty users may sign in concurrently from one address, repeatedly', async t => {
  const { limit } = await limitsOf(t)
  for (let round = 0; round < 3; round++) {
    const slots = Array.from({ length: 20 }, (_, i) => limit.slots({ ...ops, name: `user-${i}` }))
    const results = await Promise.all(slots.map(one => limit.admit(one)))
    t.ok(results.every(isAdmitted), `round ${round + 1}`)
    await Promise.all(results.filter(isAdmitted).map(admitted => limit.succeeded(admitted)))
  }
})

t.test('an attempt whose password was not checked does not count', async t => {
  const { limit } = await limitsOf(t)
  for (let i = 0; i < 30; i++) {
    const result = await limit.admit(limit.slots(ops))
    if (!isAdmitted(result)) throw new Error(`attempt ${i + 1} was not admitted`)
    await limit.undecided(result)
  }
})

t.test('attempts are counted by name and address, not by name alone; an IPv6 network is one address', async t => {
  const { limit } = await limitsOf(t)
  for (let i = 0; i < 5; i++) await limit.admit(limit.slots({ ...ops, address: '2001:db8::1' }))
  t.notOk(isAdmitted(await limit.admit(limit.slots({ ...ops, name: 'OPS', address: '2001:db8:0:0:ffff::2' }))))
  t.ok(isAdmitted(await limit.admit(limit.slots({ ...ops, address: '2001:db8:0:1::1' }))))
  t.ok(isAdmitted(await limit.admit(limit.slots({ ...ops, kind: 'password', address: '2001:db8::1' }))))
})
