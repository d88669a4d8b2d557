import t, { type Test } from 'tap'
import { type Admitted, SignInLimits, type Throttled } from '../../src/auth/sign-in-limits.ts'
import { SignInNetworks } from '../../src/auth/sign-in-networks.ts'
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
  const [database] = databases
  if (!database) throw new Error('no replica')
  const networks = new SignInNetworks(database, ['key', 'former key'])
  const limits = databases.map(database => new SignInLimits(database, networks, 'key'))
  return { limits, clock, database, databases, networks, limit: limits[0] as SignInLimits }
}

const ops = { kind: 'sign-in', name: 'ops', address: '192.0.2.1' } as const
const isAdmitted = (result: Admitted | Throttled): result is Admitted => 'slots' in result

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
  t.hasStrict(await limit.admit(limit.slots(ops)), { waitSeconds: 2, by: 'pair' }, 'the failures still count')
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
  t.hasStrict(await limit.admit(limit.slots({ ...ops, name: 'another' })), { waitSeconds: 1, by: 'address' })
  await clock.advance(1)
  const own = await limit.admit(limit.slots({ ...ops, name: 'own' }))
  if (!isAdmitted(own)) throw new Error('not admitted')
  await limit.succeeded(own)
  await limit.admit(limit.slots({ ...ops, name: 'another' }))
  t.hasStrict(
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

t.test('attempts are counted by name and address; an IPv6 network is one address', async t => {
  const { limit } = await limitsOf(t)
  for (let i = 0; i < 5; i++) await limit.admit(limit.slots({ ...ops, address: '2001:db8::1' }))
  t.notOk(isAdmitted(await limit.admit(limit.slots({ ...ops, name: 'OPS', address: '2001:db8:0:0:ffff::2' }))))
  t.ok(isAdmitted(await limit.admit(limit.slots({ ...ops, address: '2001:db8:0:1::1' }))))
  t.ok(isAdmitted(await limit.admit(limit.slots({ ...ops, kind: 'password', address: '2001:db8::1' }))))
})

/** Records sign-ins of `ops` from addresses, as the end of a sign-in does. */
async function signedIn(database: Database, networks: SignInNetworks, addresses: readonly string[]) {
  await database.run(
    sql => sql`
      insert into users (username, password_hash) values ('ops', 'hash') on conflict do nothing`
  )
  const session = Buffer.from('a session')
  await database.run(
    sql => sql`
      insert into sessions (session_hash, user_id, expires_at) select ${session}, user_id, 'infinity' from users
      on conflict do nothing`
  )
  for (const address of addresses) await database.transaction(tx => networks.remember('Ops', address, session, tx))
}

t.test('from many addresses a name has no more guesses than twenty, with a user or without', async t => {
  const { limits, database, networks } = await limitsOf(t, 2)
  await signedIn(database, networks, ['192.0.2.1'])
  for (const name of ['ops', 'nobody']) {
    const results = await Promise.all(
      Array.from({ length: 125 }, (_, i) => {
        const limit = limits[i % 2] as SignInLimits
        return limit.admit(limit.slots({ kind: 'sign-in', name, address: `198.51.100.${i % 25}` }))
      })
    )
    const throttled = results.flatMap(result => (isAdmitted(result) ? [] : [result]))
    t.equal(throttled.length, 105, name)
    t.strictSame([...new Set(throttled.map(({ by }) => by))], ['account'], name)
  }
})

t.test('failures elsewhere never delay a network from which the user has signed in', async t => {
  const { limit, clock, database, networks } = await limitsOf(t)
  await signedIn(database, networks, ['192.0.2.1', '2001:db8::1'])
  for (let i = 0; i < 20; i++) await limit.admit(limit.slots({ ...ops, address: `198.51.100.${i}` }))
  const from = (address: string, name = 'OPS') => limit.admit(limit.slots({ ...ops, name, address }))
  t.hasStrict(await from('203.0.113.1'), { waitSeconds: 1, by: 'account' })
  t.hasStrict(await from('2001:db8:0:1::1'), { by: 'account' }, 'another /64 network')
  for (const address of ['192.0.2.1', '2001:db8:0:0:ffff::2']) {
    for (let i = 0; i < 4; i++) {
      const admitted = await from(address)
      t.hasStrict(admitted, { isKnown: true }, address)
      if (i === 3 && isAdmitted(admitted)) await limit.succeeded(admitted)
    }
  }
  t.hasStrict(await from('203.0.113.1'), { waitSeconds: 1 }, 'its failures and successes change nothing for the others')
  for (let i = 0; i < 5; i++) t.ok(isAdmitted(await from('192.0.2.1')))
  t.hasStrict(await from('192.0.2.1'), { by: 'pair' }, 'it has the limit of the name with the address')

  await clock.advance(90 * 86_400)
  t.hasStrict(await from('2001:db8::1'), { isKnown: false }, 'after 90 days it is not known')
})

t.test(
  'attempts of strangers that wait for a lock leave connections to others, and known networks never wait for it',
  async t => {
    const { limit, limits, database, databases, networks } = await limitsOf(t, 2)
    await signedIn(database, networks, ['192.0.2.1'])
    const stranger = (i: number) => limit.slots({ ...ops, address: `198.51.100.${i}` })
    await limit.admit(stranger(0))
    const other = databases[1]
    let release: () => void = () => undefined
    const released = new Promise<void>(resolve => {
      release = resolve
    })
    let locked: () => void = () => undefined
    const isLocked = new Promise<void>(resolve => {
      locked = resolve
    })
    const holding = other?.transaction(async tx => {
      await tx`select from sign_in_limits where slot = ${stranger(0).account} for update`
      locked()
      await released
    })
    await isLocked
    const waiting = Array.from({ length: 19 }, (_, i) => limit.admit(stranger(i + 1)))
    while (database.usage().inFlight > 3) await new Promise(resolve => setTimeout(resolve, 5))
    t.equal(database.usage().inFlight, 3, 'of a pool of five')
    t.hasStrict(await limit.admit(limit.slots(ops)), { isKnown: true })
    release()
    await holding
    t.equal((await Promise.all(waiting)).filter(isAdmitted).length, 19)
    t.equal(isAdmitted(await (limits[1] as SignInLimits).admit(stranger(20))), false)
  }
)

t.test('a success from another network removes its own failure of the name, and no other', async t => {
  const { limit } = await limitsOf(t)
  for (let i = 0; i < 18; i++) await limit.admit(limit.slots({ ...ops, address: `198.51.100.${i}` }))
  for (let i = 0; i < 3; i++) {
    const right = await limit.admit(limit.slots(ops))
    if (!isAdmitted(right)) throw new Error('not admitted')
    await (i === 0 ? limit.undecided(right) : limit.succeeded(right))
  }
  await limit.admit(limit.slots({ ...ops, address: '203.0.113.1' }))
  await limit.admit(limit.slots({ ...ops, address: '203.0.113.2' }))
  t.hasStrict(await limit.admit(limit.slots(ops)), { waitSeconds: 1, by: 'account' })
})

t.test('networks are known under former keys, and 32 of a user at most', async t => {
  const { limit, clock, database, networks } = await limitsOf(t)
  await signedIn(database, new SignInNetworks(database, ['former key']), ['192.0.2.1'])
  t.hasStrict(await limit.admit(limit.slots(ops)), { isKnown: true })
  for (let i = 0; i < 32; i++) {
    await clock.advance(1)
    await signedIn(database, networks, [`198.51.100.${i}`])
  }
  const [counted] = await database.run(
    sql => sql<{ count: number; least: number }[]>`
      select count(*)::int, min(octet_length(network_hash)) as least from sign_in_networks`
  )
  t.strictSame({ ...counted }, { count: 32, least: 32 })
  t.hasStrict(await limit.admit(limit.slots(ops)), { isKnown: false }, 'the oldest is not known any more')
  t.hasStrict(await limit.admit(limit.slots({ ...ops, address: '198.51.100.0' })), { isKnown: true })
})
