import { randomBytes } from 'node:crypto'
import t from 'tap'
import { Accounts, type AccountsOptions } from '../../src/accounts/accounts.ts'
import { KeyRing } from '../../src/accounts/key-ring.ts'
import type { Database } from '../../src/database/database.ts'
import type { Credentials, ExchangeClient } from '../../src/exchanges/exchange-client.ts'
import { assertRows } from '../support/assert-rows.ts'
import { secretInFormat1 } from '../support/stored-secret.ts'
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

/** Adds 451 accounts as version 0.1 did. Their ciphertexts may be equal: they were not bound to an account. */
async function addOfFormat1(database: Database, key: string) {
  await add((await setUp(database, key)).accounts, database)
  const [user] = await database.run(sql => sql<{ id: string }[]>`select user_id as id from users`)
  const sealed = (secret: string, column: string) => secretInFormat1(key, secret, `account OKX ${user?.id} ${column}`)
  await database.run(
    sql => sql`
      update accounts set api_key_encrypted = ${sealed(credentials.apiKey, 'api_key')},
        api_secret_encrypted = ${sealed(credentials.apiSecret, 'api_secret')},
        passphrase_encrypted = ${sealed(credentials.passphrase, 'passphrase')}`
  )
  await database.run(
    sql => sql`
      insert into accounts (user_id, name, exchange, api_key_encrypted, api_secret_encrypted, passphrase_encrypted, key_id)
      select user_id, 'copy ' || i, exchange, api_key_encrypted, api_secret_encrypted, passphrase_encrypted, key_id
      from accounts, generate_series(1, 450) i`
  )
}

/** The formats and keys of all accounts, with the number of accounts that have them. */
async function formats(database: Database) {
  const rows = await database.run(
    sql => sql<{ format: string; keys: number; accounts: number }[]>`
      select encode(substring(api_key_encrypted for 1) || substring(api_secret_encrypted for 1)
          || substring(passphrase_encrypted for 1), 'hex') as format, count(distinct key_id)::int as keys,
        count(*)::int as accounts
      from accounts group by 1 order by 1`
  )
  return rows.map(({ format, keys, accounts }) => `${accounts} accounts: ${format}, ${keys} keys`)
}

t.test('credentials that were moved to another account, or to the other network, are not decrypted', async t => {
  const database = await tradingDatabase(t)
  const { accounts, given } = await setUp(database, newKey())
  for (const name of ['first', 'second', 'third']) await add(accounts, database, name)
  const change = (statement: string) => database.run(sql => sql.unsafe(statement))
  const all = () => accounts.active()
  const refusals = async () => {
    const found = await all()
    const outcomes = await Promise.all(
      found.map(account =>
        accounts.client(account, 'SPOT').then(
          () => 'read',
          err => String(err.code)
        )
      )
    )
    return outcomes.join(' ')
  }
  t.equal(await refusals(), 'read read read')
  await change(`
    update accounts a set api_key_encrypted = b.api_key_encrypted, api_secret_encrypted = b.api_secret_encrypted,
      passphrase_encrypted = b.passphrase_encrypted
    from accounts b where (a.name, b.name) in (('first', 'second'), ('second', 'first'))`)
  t.equal(await refusals(), 'authentication authentication read', 'rows of one user were swapped')
  const versions = await all()
  await change("update accounts set is_testnet = true where name = 'third'")
  t.equal(
    await refusals(),
    'authentication authentication authentication',
    'keys of a real account are not valid for a testnet one'
  )
  t.not((await all())[2]?.version, versions[2]?.version, 'a cached client is not used')
  const before = versions[2]
  if (before) await accounts.client(before, 'SPOT')
  await change("update accounts set is_testnet = false where name = 'third'")
  const [, , third] = await all()
  if (third) await t.rejects(accounts.client({ ...third, isTestnet: true }, 'SPOT'), { code: 'authentication' })
  t.equal(given.length, 5, 'a client is made for the network that its keys are bound to')
})

t.test('values of format 1 are read, and rotation with the same key binds them to their accounts', async t => {
  const database = await tradingDatabase(t)
  const key = newKey()
  await addOfFormat1(database, key)
  const { accounts, given } = await setUp(database, key)
  t.strictSame(await formats(database), ['451 accounts: 010101, 1 keys'])
  const [, second] = await accounts.active()
  if (second) await accounts.client(second, 'SPOT')
  let batches = 0
  const failing = accounts.rotateKeys(async () => {
    batches++
    if (batches === 2) throw new Error('the process ended')
  })
  await t.rejects(failing, new Error('the process ended'))
  t.strictSame(await formats(database), ['251 accounts: 010101, 1 keys', '200 accounts: 020202, 1 keys'])
  for (const account of await accounts.active()) await accounts.client(account, 'SPOT')
  t.strictSame(
    await accounts.rotateKeys(nothing),
    { rotated: 251, unreadable: [] },
    'the next run continues where the first one ended'
  )
  t.strictSame(await formats(database), ['451 accounts: 020202, 1 keys'])
  t.strictSame(await accounts.rotateKeys(nothing), { rotated: 0, unreadable: [] })
  for (const account of await accounts.active()) await accounts.client(account, 'SPOT')
  t.equal(given.length, 903)
  for (const read of given) t.strictSame(read, credentials)
})

t.test('an account is rotated if only one of its columns has format 1', async t => {
  const database = await tradingDatabase(t)
  const key = newKey()
  const { accounts } = await setUp(database, key)
  await add(accounts, database)
  const [account] = await accounts.active()
  for (const [column, secret] of [
    ['api_key', credentials.apiKey],
    ['api_secret', credentials.apiSecret],
    ['passphrase', credentials.passphrase]
  ] as const) {
    const sealed = secretInFormat1(key, secret, `account OKX ${account?.userId} ${column}`)
    await database.run(sql => sql`update accounts set ${sql(`${column}_encrypted`)} = ${sealed}`)
    t.strictSame(await accounts.rotateKeys(nothing), { rotated: 1, unreadable: [] }, column)
    t.strictSame(await formats(database), ['1 accounts: 020202, 1 keys'])
  }
})

t.test('rotation encrypts all accounts with the current key, is idempotent, and does not interrupt reads', async t => {
  const database = await tradingDatabase(t)
  const [older, newer] = [newKey(), newKey()]
  await addOfFormat1(database, older)
  const before = await setUp(database, older)
  t.strictSame(await before.accounts.rotateKeys(nothing), { rotated: 451, unreadable: [] })
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
    t.strictSame(await accounts.leftOut(), [account.accountId])
    await elapse()
    t.strictSame(await accounts.leftOut(), [])
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
  t.equal(await accounts.disable('0', nothing), false, 'an unknown account')
  t.equal((await accounts.active()).length, 0)
  assertRows(t, await accounts.list(), [{ name: 'main', isActive: false }])
})
