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
  return { database, counted, authenticate: (address = ADDRESS) => tokens.authenticate(created.token, address) }
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
