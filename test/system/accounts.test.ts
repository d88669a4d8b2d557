// The operator's commands for accounts and keys, through the real command line, with a simulated exchange.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { TEST_ENVIRONMENT } from '../support/app.ts'
import { runCommand } from '../support/command.ts'
import { createTestDatabase } from '../support/database.ts'
import { spawnNode } from '../support/node-process.ts'
import { serverScript } from '../support/project.ts'
import { SimulatedExchange } from '../support/simulated-exchange/simulated-exchange.ts'

const PASSWORD = 'correct horse battery'
const SECRETS = ['the-key-of-ada-9f31', 'the-secret-of-ada-77c0', 'the-phrase-of-ada-5d2e'] as const
const newKey = () => randomBytes(32).toString('base64')

async function setUp(t: Test) {
  const { url } = await createTestDatabase(t)
  const exchange = await SimulatedExchange.start({ exchange: 'OKX' })
  const sql = postgres(url, { max: 1 })
  t.teardown(async () => {
    await sql.end()
    await exchange.close()
  })
  const [apiKey, apiSecret, passphrase] = SECRETS
  const wallet = exchange.addAccount({ apiKey, apiSecret, passphrase })
  const output: string[] = []
  /** Runs a command, and stores its output. */
  const run = async (keys: string, lines: readonly string[], ...words: string[]) => {
    const said = await runCommand({ DATABASE_URL: url, ENCRYPTION_KEY: keys, ...exchange.urls }, lines, ...words)
    output.push(said.stdout, said.stderr)
    return said
  }
  const key = newKey()
  await run(key, [PASSWORD], 'user:create', 'ada')
  const add = (...words: string[]) => run(key, SECRETS, 'account:add', '--user', 'ada', '--exchange', 'okx', ...words)
  return { url, exchange, sql, wallet, key, run, add, output }
}

t.test('an account is added, listed, tested and disabled; invalid commands are rejected with one sentence', async t => {
  const { sql, wallet, key, run, add, output } = await setUp(t)
  t.hasStrict(await add('--name', 'main'), { code: 0, stdout: 'OKX account main added\n' })
  t.hasStrict(await add('--name', 'Main'), { code: 2, stderr: 'ada has an account Main already\n' })
  t.match(await add('--name', 'a\tb'), { code: 2, stderr: /--name/ })
  t.match(await add('--name', 'x'.repeat(65)), { code: 2, stderr: /--name/ })
  const words = ['account:add', '--user', 'ada', '--name', 'other']
  t.match(await run(key, SECRETS, ...words, '--exchange', 'mtgox'), { code: 2, stderr: /BINANCE, BYBIT, OKX/ })
  t.match(await run(key, SECRETS, ...words, '--exchange', 'upbit', '--testnet'), { code: 2, stderr: /no testnet/ })
  t.match(await run(key, SECRETS.slice(0, 2), ...words, '--exchange', 'okx'), {
    code: 2,
    stderr: /no line with the secret/
  })
  t.match(await run(key, ['', 'b'], ...words, '--exchange', 'upbit'), { code: 2, stderr: /1 to 512/ })
  t.match(await run(key, ['x'.repeat(513), 'b'], ...words, '--exchange', 'upbit'), { code: 2, stderr: /1 to 512/ })
  t.hasStrict(await run(key, [...SECRETS.slice(0, 1), 'café'], ...words, '--exchange', 'upbit'), { code: 2 })
  t.hasStrict(
    await run(key, [], ...words, `--secret=${SECRETS[1]}`),
    { code: 2 },
    'secrets are not accepted as arguments'
  )
  t.hasStrict(await run(key, [], 'account:list'), {
    code: 0,
    stdout:
      'number  user  exchange  network  active  keys  name\n' + '1       ada   OKX       real     active  ok    main\n'
  })

  const tested = await run(key, [], 'account:test', '1')
  t.equal(tested.code, 0, tested.stderr)
  t.strictSame(tested.stdout.split('\n'), [
    'market   call         result',
    'SPOT     server time  ok',
    'SPOT     balances     ok',
    'SPOT     open orders  ok',
    'FUTURES  server time  ok',
    'FUTURES  open orders  ok',
    ''
  ])
  wallet.state = 'revoked'
  t.match(await run(key, [], 'account:test', '1'), { code: 1, stdout: /^SPOT +server time +ok\nSPOT +balances +auth/m })
  for (const number of ['2', '1 or true', '']) {
    t.match(await run(key, [], 'account:test', number), { code: 2, stderr: /account:list shows the numbers/ })
  }
  t.hasStrict(await run(key, [], 'account:disable', '1'), { code: 0, stdout: 'account 1 (main) disabled\n' })
  t.match(await run(key, [], 'account:list'), { stdout: / disabled / })
  t.match(await run(key, [], 'account:nonsense'), { code: 2, stderr: /^error: unknown command/ })

  const audit = await sql`select action, target, outcome from audit_log where action like 'account:%' order by audit_id`
  t.strictSame(
    audit.map(row => ({ ...row })),
    [
      { action: 'account:add', target: 'OKX main', outcome: 'succeeded' },
      { action: 'account:disable', target: '1', outcome: 'succeeded' }
    ]
  )
  assertNoSecrets(t, output.join(''), key)
})

t.test('keys are rotated in place, and a missing key or a changed row is reported without a value', async t => {
  const { url, sql, key, run, add, output } = await setUp(t)
  await add('--name', 'main')
  await add('--name', 'second')
  const newer = newKey()
  t.match(await run(newer, [], 'account:test', '1'), { code: 2, stderr: /authentication: no key [0-9a-f]{16} in/ })
  t.match(await run(`${newer},${key}`, [], 'keys:rotate'), {
    code: 0,
    stdout: /^2 accounts encrypted with key \w+\n$/
  })
  t.match(await run(`${newer},${key}`, [], 'keys:rotate'), { code: 0, stdout: /^0 accounts/ })
  t.hasStrict(await run(newer, [], 'account:test', '1'), { code: 0 }, 'the older key is no longer needed')
  const [row] = await sql`select target from audit_log where action = 'keys:rotate'`
  t.match(row, { target: /^2 accounts to key [0-9a-f]{16}$/ })

  await sql`update accounts set api_secret_encrypted = api_key_encrypted where account_id = 2`
  t.match(await run(newer, [], 'account:test', '2'), { code: 2, stderr: /changed since it was encrypted/ })
  const newest = newKey()
  t.match(await run(`${newest},${newer}`, [], 'keys:rotate'), {
    code: 1,
    stdout: /^1 accounts .*; no key decrypts account 2\n$/
  })
  t.hasStrict(await run(newest, [], 'account:test', '1'), { code: 0 }, 'the other accounts are rotated')
  const [left] = await sql`select key_id from accounts where account_id = 2`
  const [done] = await sql`select key_id from accounts where account_id = 1`
  t.not(left?.key_id, done?.key_id, 'an account that cannot be decrypted is not changed')

  const missing = await runCommand({ DATABASE_URL: url, ENCRYPTION_KEY: '' }, [], 'account:list')
  t.hasStrict(missing, { code: 2, stderr: 'ENCRYPTION_KEY must be set when DATABASE_URL is\n' })
  const wrong = await runCommand({ DATABASE_URL: url, ENCRYPTION_KEY: 'a2V5' }, [], 'account:list')
  t.match(wrong, { code: 2, stderr: /^ENCRYPTION_KEY must be 32 bytes in base64/ })
  assertNoSecrets(t, output.join('') + wrong.stderr, key, newer, newest, 'a2V5')
})

t.test('a command does not store values that a running replica of an older version cannot read', async t => {
  const { sql, key, run, add } = await setUp(t)
  await add('--name', 'main')
  const replica = (version: string, seen: string) => sql`
    insert into replicas (instance_id, version, started_at, last_seen_at)
    values ('other', ${version}, now(), now() - ${seen}::interval)
    on conflict (instance_id) do update set version = excluded.version, last_seen_at = excluded.last_seen_at`
  const refusal =
    'a replica of version 0.1.7 is running, which cannot read the keys that this command stores: complete the upgrade, and repeat it 30 s later\n'
  await replica('0.1.7', '20 seconds')
  t.hasStrict(await run(key, [], 'keys:rotate'), { code: 2, stderr: refusal })
  t.hasStrict(await add('--name', 'second'), { code: 2, stderr: refusal })
  t.hasStrict(await run(key, [], 'account:test', '1'), { code: 0 }, 'the other commands work')
  await replica('0.1.7', '31 seconds')
  t.hasStrict(await run(key, [], 'keys:rotate'), { code: 0 })
  await replica('0.2.0', '0 seconds')
  t.hasStrict(await add('--name', 'second'), { code: 0 })
})

t.test('an account is added with what the accounts of its exchange need of the rate limits', async t => {
  const { key, run } = await setUp(t)
  const words = ['account:add', '--user', 'ada', '--exchange', 'BINANCE', '--name', 'main']
  const { stdout } = await run(key, SECRETS.slice(0, 2), ...words)
  t.strictSame(stdout.split('\n'), [
    'BINANCE account main added',
    'FUTURES: 1 account: 0.0 × the limit, orders every 29 s, balances every 59 s',
    'SPOT: 1 account: 0.0 × the limit, orders every 29 s, balances every 59 s',
    ''
  ])
})

t.test('with the embedded database the key is created once, and only its owner can read it', async t => {
  const dataDir = t.testdir()
  const environment = { DATA_DIR: dataDir, ENCRYPTION_KEY: '' }
  t.hasStrict(await runCommand(environment, [PASSWORD], 'user:create', 'ada'), { code: 0 })
  const words = ['--user', 'ada', '--exchange', 'UPBIT', '--name', 'main']
  t.hasStrict(await runCommand(environment, SECRETS.slice(0, 2), 'account:add', ...words), { code: 0 })
  const path = join(dataDir, 'encryption-key')
  const key = await readFile(path, 'utf8')
  t.equal((await stat(path)).mode & 0o777, 0o600)
  t.match(await runCommand(environment, [], 'keys:rotate'), { code: 0, stdout: /^0 accounts/ })
  t.equal(await readFile(path, 'utf8'), key)

  // The file is lost in a power cut.
  await rm(path)
  const message = `${path} is missing, and the keys of 1 account are encrypted with it: restore the file from a backup, or set ENCRYPTION_KEY to its content; where it is lost, see docs/deployment.md#embedded-database`
  const lost = await runCommand(environment, [], 'keys:rotate')
  t.strictSame(lost, { code: 1, stdout: '', stderr: `${message}\n` })
  const env = { ...TEST_ENVIRONMENT, ...environment, DRAIN_SECONDS: '0' }
  const child = spawnNode(serverScript, [], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  t.teardown(() => child.kill('SIGKILL'))
  if (!child.stdout || !child.stderr) throw new Error('the service has no output')
  const [log, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')])
  t.strictSame({ err, code }, { err: `start: ${message}\n`, code: 1 })
  const lines = log
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
  t.strictSame(
    lines.filter(({ msg }) => msg === 'start failed').map(({ level, reason }) => ({ level, reason })),
    [{ level: 40, reason: message }]
  )
  t.notOk((await readdir(dataDir)).includes('encryption-key'), 'no key is created')

  await writeFile(path, key)
  t.match(await runCommand(environment, [], 'keys:rotate'), { code: 0, stdout: /^0 accounts/ })
})

function assertNoSecrets(t: Test, text: string, ...keys: string[]): void {
  for (const secret of [...SECRETS, PASSWORD, ...keys]) t.notOk(text.includes(secret), 'no secret in the output')
}
