import { randomBytes } from 'node:crypto'
import t from 'tap'
import { Accounts, type AccountsOptions } from '../../src/accounts/accounts.ts'
import { KeyRing } from '../../src/accounts/key-ring.ts'
import type { Database } from '../../src/database/database.ts'
import type { Credentials, ExchangeClient } from '../../src/exchanges/exchange-client.ts'
import { assertRows } from '../support/assert-rows.ts'
import { tradingDatabase } from '../support/trading.ts'

const newKey = () => randomBytes(32).toString('base64')
const credentials = { apiKey: 'the key of ada', apiSecret: 'the secret of ada', passphrase: 'the phrase of ada' }
const nothing = async () => {}

async function setUp(database: Database, keys: string, options: Partial<AccountsOptions> = {}) {
  const given: (Credentials | null | undefined)[] = []
  const accounts = new Accounts({
    database,
    keyRing: new KeyRing(keys),
    connect: options => {
      given.push(options.credentials)
      return {} as ExchangeClient
    },
    ...options
  })
  return { accounts, given }
}

async function add(accounts: Accounts, database: Database, name = 'main') {
  await database.run(
    sql => sql`insert into users (username, password_hash) values ('ada', 'none') on conflict do nothing`
  )
  const account = { username: 'Ada', exchange: 'OKX' as const, name, isTestnet: false, credentials }
  return accounts.add(account, nothing)
}

t.test('credentials are stored encrypted, and a client gets them unchanged', async t => {
  const database = await tradingDatabase(t)
  const { accounts, given } = await setUp(database, newKey())
  t.equal(await add(accounts, database), 'added')
  t.equal(await add(accounts, database), 'name_taken')
  t.equal(await add(accounts, database, 'MAIN'), 'name_taken')
  const someone = { username: 'nobody', exchange: 'OKX' as const, name: 'x', isTestnet: false, credentials }
  t.equal(await accounts.add(someone, nothing), 'no_user')
  const [account] = await accounts.active()
  t.hasStrict(account, { name: 'main', exchange: 'OKX', isTestnet: false, state: 'ok' })
  if (account) await accounts.client(account, 'SPOT')
  t.strictSame(given, [credentials])
  const [row] = await database.run(sql => sql<{ text: string }[]>`select accounts::text as text from accounts`)
  const [hex] = await database.run(
    sql =>
      sql<
        { stored: Buffer }[]
      >`select api_key_encrypted || api_secret_encrypted || passphrase_encrypted as stored from accounts`
  )
  for (const secret of Object.values(credentials)) {
    t.notOk(row?.text.includes(Buffer.from(secret).toString('hex')))
    t.notOk(hex?.stored.includes(secret))
  }
})

t.test('credentials of another account, column or key are not decrypted', async t => {
  const database = await tradingDatabase(t)
  const { accounts, given } = await setUp(database, newKey())
  await add(accounts, database)
  const [account] = await accounts.active()
  if (!account) throw new Error('no account')
  const refusal = { name: 'ExchangeError', code: 'authentication' }
  await database.run(sql => sql`update accounts set api_key_encrypted = api_secret_encrypted`)
  await t.rejects(accounts.client(account, 'SPOT'), refusal)
  const other = await setUp(database, newKey())
  await t.rejects(other.accounts.client(account, 'SPOT'), {
    ...refusal,
    message: /no key [0-9a-f]{16} in ENCRYPTION_KEY/
  })
  t.strictSame([...given, ...other.given], [])
})

t.test('rotation encrypts all accounts with the current key, is idempotent, and does not interrupt reads', async t => {
  const database = await tradingDatabase(t)
  const [older, newer] = [newKey(), newKey()]
  const before = await setUp(database, older)
  await add(before.accounts, database)
  await database.run(
    sql => sql`
      insert into accounts (user_id, name, exchange, api_key_encrypted, api_secret_encrypted, passphrase_encrypted, key_id)
      select user_id, 'copy ' || i, exchange, api_key_encrypted, api_secret_encrypted, passphrase_encrypted, key_id
      from accounts, generate_series(1, 450) i`
  )
  const during = await setUp(database, `${newer},${older}`)
  const batches: number[] = []
  const unexpected = () => Promise.reject(new Error('nothing was changed'))
  const all = await during.accounts.active()
  const [rotated] = await Promise.all([
    during.accounts.rotateKeys(async (_tx, count) => void batches.push(count)),
    ...all.slice(0, 50).map(account => during.accounts.client(account, 'SPOT'))
  ])
  t.strictSame(rotated, { rotated: 451, unreadable: [] })
  t.strictSame(batches, [200, 200, 51], 'each batch is recorded in its transaction')
  t.strictSame(await during.accounts.rotateKeys(unexpected), { rotated: 0, unreadable: [] })
  const after = await setUp(database, newer)
  for (const account of (await after.accounts.active()).slice(-3)) await after.accounts.client(account, 'SPOT')
  for (const read of [...during.given, ...after.given]) t.strictSame(read, credentials)

  const lost = await setUp(database, newKey())
  const outcome = await lost.accounts.rotateKeys(unexpected)
  t.equal(outcome.rotated, 0)
  t.equal(outcome.unreadable.length, 451, 'accounts that no key decrypts are reported and unchanged')
})

t.test('a batch that is repeated after a conflict is counted once', async t => {
  const database = await tradingDatabase(t)
  const [older, newer, other] = [newKey(), newKey(), newKey()]
  await add((await setUp(database, older)).accounts, database, 'readable')
  await add((await setUp(database, other)).accounts, database, 'unreadable')
  const { accounts } = await setUp(database, `${newer},${older}`)
  let calls = 0
  const { rotated, unreadable } = await accounts.rotateKeys(async tx => {
    calls++
    if (calls === 1) await tx`do $$ begin raise exception using errcode = '40P01'; end $$`
  })
  t.equal(calls, 2, 'the batch was repeated')
  t.equal(rotated, 1)
  t.equal(unreadable.length, 1)
})

t.test('an account with refused credentials is inactive for ten minutes, until the exchange accepts them', async t => {
  const database = await tradingDatabase(t)
  const { accounts } = await setUp(database, newKey())
  await add(accounts, database)
  const [account] = await accounts.active()
  if (!account) throw new Error('no account')
  const refuse = () => database.transaction(tx => accounts.recordRefusal(tx, account))
  const accept = () => database.transaction(tx => accounts.recordAcceptance(tx, account))
  const elapse = () => database.run(sql => sql`update accounts set updated_at = now() - interval '11 minutes'`)
  await accept()
  assertRows(t, await accounts.active(), [{ name: 'main', state: 'ok' }])
  for (const attempt of ['first', 'second']) {
    await refuse()
    t.equal((await accounts.active()).length, 0, `not used after the ${attempt} refusal`)
    await elapse()
    assertRows(t, await accounts.active(), [{ name: 'main', state: 'credentials_refused' }])
  }
  await accept()
  assertRows(t, await accounts.active(), [{ name: 'main', state: 'ok' }])
})

t.test('a disabled account stays in the list, inactive', async t => {
  const database = await tradingDatabase(t)
  const { accounts } = await setUp(database, newKey())
  await add(accounts, database)
  const [account] = await accounts.active()
  if (!account) throw new Error('no account')
  t.equal(await accounts.disable(account.accountId, nothing), true)
  t.equal(await accounts.disable('0', nothing), false, 'there is no such account')
  t.equal((await accounts.active()).length, 0)
  assertRows(t, await accounts.list(), [{ name: 'main', isActive: false }])
})
