import t, { type Test } from 'tap'
import { TokenSignIn } from '../../src/auth/token-sign-in.ts'
import { createToken } from '../../src/auth/token-table.ts'
import { migratedDatabase, openDatabase } from '../support/migrated-database.ts'

const ADDRESS = '192.0.2.1'

async function setUp(t: Test, knownMs?: number) {
  const { url } = await migratedDatabase(t)
  const database = openDatabase(url)
  t.teardown(() => database.close(0))
  const created = await createToken(
    database,
    { name: 'ci', role: 'viewer', username: undefined, networks: '192.0.2.0/24', days: 1 },
    async () => undefined
  )
  if (typeof created === 'string') throw new Error(created)
  const counted: string[] = []
  const limits = {
    countInvalidToken: async (address: string) => {
      counted.push(address)
      return undefined
    }
  }
  const tokens = new TokenSignIn({ database, limits, ...(knownMs !== undefined && { knownMs }) })
  const outside: string[] = []
  const send = (token: string, address: string, isCertain = true) =>
    tokens.authenticate(token, { address, isCertain, onOutside: name => outside.push(name) })
  const authenticate = (address = ADDRESS, isCertain = true) => send(created.token, address, isCertain)
  return { database, counted, outside, send, authenticate }
}

t.test('while the database is unavailable, a token that was read before is returned, with the reason', async t => {
  const { database, counted, authenticate } = await setUp(t)
  const read = await authenticate()
  t.strictSame([read.name, read.role, read.kind, read.unverified], ['token:ci', 'viewer', 'token', undefined])
  await database.close(0)
  t.hasStrict(await authenticate(), { name: 'token:ci', unverified: { code: 'database_unreachable' } })
  t.strictSame(counted, [])
  await t.rejects(authenticate('198.51.100.1'), { code: 'UNAUTHENTICATED' }, 'not from another network')
})

t.test('a token is known for a limited time, and one that was not read is not known', async t => {
  const { database, authenticate } = await setUp(t, 1)
  await authenticate()
  await database.close(0)
  await new Promise(resolve => setTimeout(resolve, 5))
  await t.rejects(authenticate(), { code: 'database_unreachable' })

  const cold = await setUp(t)
  await cold.database.close(0)
  await t.rejects(cold.authenticate(), { code: 'database_unreachable' })
})

t.test('a token that ended is not known any more', async t => {
  const { database, counted, authenticate } = await setUp(t)
  await authenticate()
  await database.run(sql => sql`update api_tokens set revoked_at = now()`)
  await t.rejects(authenticate(), { code: 'UNAUTHENTICATED' })
  t.strictSame(counted, [ADDRESS])
  await database.close(0)
  await t.rejects(authenticate(), { code: 'database_unreachable' })
})

t.test('a token from another network, or from an uncertain address, is rejected and its name is reported', async t => {
  const { counted, outside, authenticate } = await setUp(t)
  await t.rejects(authenticate('198.51.100.1'), { code: 'UNAUTHENTICATED' })
  await t.rejects(authenticate(ADDRESS, false), { code: 'UNAUTHENTICATED' })
  t.strictSame(outside, ['token:ci', 'token:ci'])
  t.strictSame(counted, ['198.51.100.1', ADDRESS])
})

t.test('a token that was read outside of its networks alone is not known', async t => {
  const { database, authenticate } = await setUp(t)
  await t.rejects(authenticate('198.51.100.1'), { code: 'UNAUTHENTICATED' })
  await database.close(0)
  await t.rejects(authenticate(), { code: 'database_unreachable' })
})

t.test('outside of its networks, a known token waits with the unknown ones', async t => {
  const { send, authenticate } = await setUp(t)
  await authenticate()
  const flood = Array.from({ length: 64 }, (_, i) => send(`th_${i}`, `198.51.100.${i}`).catch(err => err.code))
  await t.rejects(authenticate('203.0.113.1'), { code: 'OVERLOADED' })
  t.equal((await authenticate()).name, 'token:ci', 'in its networks it does not wait')
  t.strictSame(new Set(await Promise.all(flood)), new Set(['UNAUTHENTICATED']))
})
