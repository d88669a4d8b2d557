import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ConfigError, configSchema, loadConfig } from '../src/config.ts'

const SESSION_SECRET = 's'.repeat(32)
const ENCRYPTION_KEY = Buffer.alloc(32).toString('base64')
const secrets = { SESSION_SECRET, ENCRYPTION_KEY }

/** @returns the exact message of the ConfigError; undefined when the settings are accepted */
function refusal(environment: Record<string, string>): string | undefined {
  try {
    loadConfig(environment)
    return undefined
  } catch (err) {
    if (err instanceof ConfigError) return err.message
    throw err
  }
}

/** Asserts that the settings are rejected with exactly this message. */
function refused(t: Test, environment: Record<string, string>, message: string): void {
  t.equal(refusal(environment), message)
}

t.test('every key has a default or may be unset', async t => {
  const config = loadConfig({})
  t.hasStrict(config, { HOST: '127.0.0.1', PORT: 5001, PROBE_PORT: 5002, CHECK_TIMEOUT_MS: 400, LANGUAGE: 'ko' })
  t.equal(config.DATABASE_URL, undefined)
})

t.test('a replica without INSTANCE_ID gets a unique name', async t => {
  t.not(loadConfig({}).INSTANCE_ID, loadConfig({}).INSTANCE_ID)
  t.equal(loadConfig({ INSTANCE_ID: 'a' }).INSTANCE_ID, 'a')
})

t.test('numbers are read from their text', async t => {
  t.hasStrict(loadConfig({ PORT: '0', PROBE_PORT: '7000', DRAIN_SECONDS: '3' }), {
    PORT: 0,
    PROBE_PORT: 7000,
    DRAIN_SECONDS: 3
  })
})

t.test('the probe port can be off', async t => {
  t.equal(loadConfig({ PROBE_PORT: 'off' }).PROBE_PORT, 'off')
})

t.test('an empty variable counts as unset', async t => {
  t.equal(loadConfig({ PORT: '', DATABASE_URL: '' }).PORT, 5001)
})

t.test('variables that are not settings are ignored', async t => {
  t.notOk('PATH' in loadConfig({ PATH: '/bin' }))
})

t.test('an invalid value is rejected with its key and rule, without the value', async t => {
  const telegramUrl =
    'must be an https address, or an http one on loopback, or in a private network with `TELEGRAM_API_PRIVATE_HTTP`'
  const rules: [key: string, value: string, rule: string][] = [
    ['PORT', 'eight', 'must be integer'],
    ['PORT', '70000', 'must be <= 65535'],
    ['PORT', '-1', 'must be >= 0'],
    ['PORT', '1.5', 'must be integer'],
    ['PROBE_PORT', '65536', 'must be a port from 0 to 65535, or off'],
    ['PROBE_PORT', 'on', 'must be a port from 0 to 65535, or off'],
    ['DATABASE_URL', 'mysql://u:hunter2@h/d', 'must be a postgres:// address'],
    ['LOG_LEVEL', 'loud', 'must be equal to one of the allowed values: trace, debug, info, warn, error, fatal, silent'],
    ['CHECK_TIMEOUT_MS', '900', 'must be <= 800'],
    ['SERVICE_NAME', 'a b', 'must be 1 to 48 letters, digits, dots, dashes or underscores'],
    ['TELEGRAM_API_URL', 'http://api.telegram.org', telegramUrl],
    ['TELEGRAM_API_URL', 'http://10.0.0.1:8081', telegramUrl],
    ['TELEGRAM_API_URL', 'https://user@host', telegramUrl],
    ['BINANCE_URL', 'http://10.0.0.1:8081', 'must be an https address, or an http one on loopback'],
    ['HTTPS_PROXY', 'socks5://10.0.0.1:1080', 'must be an http or https address without a path'],
    ['HTTPS_PROXY', 'http://u:hunter2@proxy:99999', 'must be an http or https address without a path'],
    ['TRUST_PROXY', 'true', 'must be a comma-separated list of addresses or networks']
  ]
  for (const [key, value, rule] of rules) {
    refused(t, { [key]: value }, `${key} ${rule}`)
  }
})

t.test('the Bot API may be called by http in a private network if the operator enables it', async t => {
  const privately = { TELEGRAM_API_PRIVATE_HTTP: 'true' }
  const allowed = [
    'http://telegram-bot-api:8081',
    'http://10.0.0.1:8081/path',
    'http://[fd00::1]',
    'http://bots.internal'
  ]
  for (const url of allowed) t.equal(loadConfig({ ...privately, TELEGRAM_API_URL: url }).TELEGRAM_API_URL, url)
  for (const url of [
    'http://api.telegram.org',
    'http://8.8.8.8',
    'http://10.0.0.1.example.com',
    'http://[2001:db8::1]'
  ]) {
    t.throws(() => loadConfig({ ...privately, TELEGRAM_API_URL: url }), ConfigError, url)
  }
})

t.test('a secret may come from a file', async t => {
  const directory = t.testdir({ url: 'postgres://u:hunter2@h/d\n' })
  t.equal(
    loadConfig({ ...secrets, DATABASE_URL_FILE: join(directory, 'url') }).DATABASE_URL,
    'postgres://u:hunter2@h/d'
  )

  t.test('the variable takes precedence over the file', async t => {
    const environment = { ...secrets, DATABASE_URL: 'postgres://direct', DATABASE_URL_FILE: join(directory, 'url') }
    t.equal(loadConfig(environment).DATABASE_URL, 'postgres://direct')
  })

  t.test('a file that cannot be read stops the start', async t => {
    const message = 'DATABASE_URL_FILE must name a readable file'
    refused(t, { DATABASE_URL_FILE: join(directory, 'absent') }, message)
  })

  t.test('an invalid value in a file is not in the message', async t => {
    writeFileSync(join(directory, 'bad'), 'hunter2')
    const message = 'DATABASE_URL must be a postgres:// address'
    refused(t, { DATABASE_URL_FILE: join(directory, 'bad') }, message)
  })

  t.test('a setting that is not a secret cannot come from a file', async t => {
    t.equal(loadConfig({ PORT_FILE: join(directory, 'url') }).PORT, 5001)
  })
})

t.test('the webhook has a safe address, which may have a query, and a secret unless its receiver is Slack', async t => {
  const secret = `whsec_${'A'.repeat(32)}`
  const url = 'https://example.com/hook?token=hunter2'
  const set = { ALERT_WEBHOOK_URL: url, ALERT_WEBHOOK_SECRET: secret }
  t.hasStrict(loadConfig(set), { ...set, ALERT_WEBHOOK_FORMAT: 'json' })
  t.equal(loadConfig({ ALERT_WEBHOOK_URL: url, ALERT_WEBHOOK_FORMAT: 'slack' }).ALERT_WEBHOOK_SECRET, undefined)
  t.equal(loadConfig({ ...set, ALERT_WEBHOOK_URL: 'http://127.0.0.1:8080/?a=b' }).ALERT_WEBHOOK_FORMAT, 'json')
  const missing = 'ALERT_WEBHOOK_SECRET must be set when ALERT_WEBHOOK_URL is and the format is json'
  refused(t, { ALERT_WEBHOOK_URL: url }, missing)
  const unsafe = 'ALERT_WEBHOOK_URL must be an https address, or an http one on loopback'
  for (const one of [
    'http://10.0.0.1/hunter2',
    'https://user:hunter2@host/',
    'https://[hunter2/',
    'https://h/#hunter2'
  ]) {
    refused(t, { ...set, ALERT_WEBHOOK_URL: one }, unsafe)
  }
  const rule =
    'ALERT_WEBHOOK_SECRET must be `whsec_` and 24 to 64 bytes in base64, or 24 to 256 other characters, or a comma-separated list of such'
  for (const one of ['hunter2', 'whsec_hunter2', `${secret},hunter2`])
    refused(t, { ...set, ALERT_WEBHOOK_SECRET: one }, rule)
  const list = `${secret},${'b'.repeat(24)}`
  t.equal(loadConfig({ ...set, ALERT_WEBHOOK_SECRET: list }).ALERT_WEBHOOK_SECRET, list)
})

t.test('an invalid DATABASE_URL stops the start with the rule that it breaks', async t => {
  const directory = t.testdir({ url: 'postgres://u:hunter2@h/d?sslmode=hunter2\n' })
  const sslmode = 'DATABASE_URL: sslmode must be one of disable, prefer, require, verify-ca, verify-full'
  const cases: [environment: Record<string, string>, message: string][] = [
    [{ DATABASE_URL: 'postgres://u:hunter2@h/d?sslmode=hunter2' }, sslmode],
    [{ DATABASE_URL_FILE: join(directory, 'url') }, sslmode],
    [
      { DATABASE_URL: 'postgres://h:hunter2@/d' },
      'DATABASE_URL: must name a host or a socket directory, and no host may be empty'
    ],
    [{ DATABASE_URL: `postgres://h/${'d'.repeat(4096)}` }, 'DATABASE_URL: must have at most 4096 characters'],
    [
      { DATABASE_URL: `postgres://h?sslmode=verify-full&sslrootcert=${join(directory, 'absent')}` },
      'DATABASE_URL: sslrootcert must be system or a readable file of valid PEM certificates'
    ]
  ]
  for (const [environment, message] of cases) t.equal(refusal({ ...secrets, ...environment }), message)
  t.equal(
    refusal({ DATABASE_URL: 'postgres://h?sslmode=hunter2' }),
    sslmode,
    'DATABASE_URL is checked before the secrets'
  )
})

t.test('a valid DATABASE_URL is unchanged', async t => {
  const url = 'postgresql://u:a%40b@a:1,[::1]/d?sslmode=verify-full&application_name=x'
  t.equal(loadConfig({ ...secrets, DATABASE_URL: url }).DATABASE_URL, url)
})

t.test('DATABASE_URL makes the secrets mandatory, the embedded database does not', async t => {
  for (const secret of ['SESSION_SECRET', 'ENCRYPTION_KEY']) {
    const message = `${secret} must be set when DATABASE_URL is`
    refused(t, { DATABASE_URL: 'postgres://h/d', ...secrets, [secret]: '' }, message)
    t.notOk(Object.hasOwn(loadConfig({}), secret))
  }
  const both = 'SESSION_SECRET and ENCRYPTION_KEY must be set when DATABASE_URL is'
  refused(t, { DATABASE_URL: 'postgres://h/d' }, both)
})

t.test('an encryption key, or each of a list, has 32 bytes', async t => {
  const message = 'ENCRYPTION_KEY must be 32 bytes in base64, or a comma-separated list of such keys'
  const short = Buffer.alloc(31).toString('base64')
  for (const bad of [short, `${ENCRYPTION_KEY},${short}`, `${ENCRYPTION_KEY},`, 'k'.repeat(44)]) {
    refused(t, { ENCRYPTION_KEY: bad }, message)
  }
  t.ok(loadConfig({ ENCRYPTION_KEY: `${ENCRYPTION_KEY},${ENCRYPTION_KEY}` }))
})

t.test('a session secret, or each of a list, has 32 characters', async t => {
  const message = 'SESSION_SECRET must be at least 32 characters, or a comma-separated list of such'
  for (const bad of ['s'.repeat(31), `${SESSION_SECRET},short`, `${SESSION_SECRET},`]) {
    refused(t, { SESSION_SECRET: bad }, message)
  }
  t.ok(loadConfig({ SESSION_SECRET: `${SESSION_SECRET},${SESSION_SECRET}` }))
})

t.test('every setting has a description', async t => {
  for (const [key, schema] of Object.entries(configSchema.properties)) t.ok(schema.description, key)
})
