import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { type Static, type TSchema, Type } from '@sinclair/typebox'
import envSchema, { type EnvSchemaOpt } from 'env-schema'
import { isNetworkList } from './client-address.ts'
import { DatabaseUrlError, parseDatabaseUrl } from './database/database-url.ts'
import { isTimeZone } from './domain/time-zone.ts'
import { isPrivateHost } from './private-host.ts'
import {
  baseUrl,
  choice,
  isSafeUrl,
  KEY_LIST,
  optionalPort,
  port,
  SAFE_URL_RULE,
  seconds,
  secretUrl,
  signingSecrets
} from './setting-types.ts'

const PROXY_RULE = 'must be an http or https address without a path'
const TELEGRAM_URL_RULE =
  'must be an https address, or an http one on loopback, or in a private network with `TELEGRAM_API_PRIVATE_HTTP`'

/**
 * Every setting: one key, with its default and bounds, read from the environment variable of the same name.
 * `secret: true` marks a key that may also come from the file that `<KEY>_FILE` names.
 */
export const configSchema = Type.Object({
  HOST: Type.String({ default: '127.0.0.1', minLength: 1, maxLength: 255, description: 'address to listen on' }),
  PORT: port(5001, 'main port; `0` takes any free one and prints it'),
  PROBE_PORT: optionalPort(5002, 'port of the probe thread; `off` turns it off, `0` takes any free one and prints it'),
  PROBE_PORT_PATH: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 4096,
      description:
        'file that gets the port of the probes when that is `0`, for the health check of the container; unset: none'
    })
  ),
  // `parseDatabaseUrl` checks what the pattern does not.
  DATABASE_URL: Type.Optional(
    Type.String({
      pattern: '^postgres(ql)?://',
      secret: true,
      rule: 'must be a postgres:// address',
      description: 'the database, see [`DATABASE_URL`](#database_url); unset: the embedded Postgres'
    })
  ),
  DATA_DIR: Type.String({
    default: './data',
    minLength: 1,
    maxLength: 4096,
    description: 'where the embedded database and generated secrets live'
  }),
  DATABASE_POOL_MAX: Type.Integer({
    default: 10,
    minimum: 1,
    maximum: 1000,
    description: 'connections of the main pool'
  }),
  SESSION_SECRET: Type.Optional(
    Type.String({
      pattern: '^[^,]{32,512}(,[^,]{32,512}){0,9}$',
      secret: true,
      rule: 'must be at least 32 characters, or a comma-separated list of such',
      description:
        'signs the session cookie; the first of a list signs, the others are still accepted. Required with `DATABASE_URL`; else generated once and kept in `DATA_DIR`'
    })
  ),
  SESSION_IDLE_MINUTES: Type.Integer({
    default: 60,
    minimum: 1,
    maximum: 1440,
    description: 'minutes without a request after which a session ends'
  }),
  SESSION_MAX_HOURS: Type.Integer({
    default: 12,
    minimum: 1,
    maximum: 720,
    description: 'hours after which a session ends'
  }),
  COOKIE_SECURE: choice(
    ['auto', 'always'],
    'auto',
    'whether the session cookie is `Secure`; `auto`: when a trusted proxy reports that the request came by TLS'
  ),
  SERVICE_NAME: Type.String({
    default: 'trading-system',
    pattern: '^[A-Za-z0-9._-]{1,48}$',
    rule: 'must be 1 to 48 letters, digits, dots, dashes or underscores',
    description: 'name in `/health` and in `application_name` of the database sessions'
  }),
  INSTANCE_ID: Type.Optional(
    Type.String({
      pattern: '^[A-Za-z0-9._-]{1,128}$',
      rule: 'must be 1 to 128 letters, digits, dots, dashes or underscores',
      description: 'name of this replica; unset: host name and a random part'
    })
  ),
  LOG_LEVEL: choice(
    ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
    'info',
    'lowest level that is logged'
  ),
  TRUST_PROXY: Type.Optional(
    Type.String({
      format: 'network-list',
      maxLength: 4096,
      rule: 'must be a comma-separated list of addresses or networks',
      description: 'comma-separated addresses or networks whose `X-Forwarded-*` headers are accepted; unset: none'
    })
  ),
  TIME_ZONE: Type.String({
    default: 'Asia/Seoul',
    format: 'time-zone',
    maxLength: 64,
    rule: 'must be a time zone of the IANA database',
    description: 'a day is a day of this time zone; Node.js and PostgreSQL must begin its days at the same time'
  }),
  ENCRYPTION_KEY: Type.Optional(
    Type.String({
      pattern: KEY_LIST,
      maxLength: 4096,
      secret: true,
      rule: 'must be 32 bytes in base64, or a comma-separated list of such keys',
      description:
        'encrypts the keys of the accounts; the first of a list encrypts, the others still decrypt. Required with `DATABASE_URL`; else generated once and kept in `DATA_DIR`'
    })
  ),
  WARM_UP_SECONDS: seconds(
    10,
    0,
    120,
    'longest time that start-up waits for the first prices; readiness does not wait for them'
  ),
  // The minimum is longer than the 31 s between two refreshes.
  PRICE_CACHE_TTL_SECONDS: seconds(90, 35, 3600, 'age at which a cached price stops being current'),
  CLIENT_CACHE_TTL_SECONDS: seconds(3600, 1, 86_400, 'lifetime of a cached exchange client'),
  CLIENT_CACHE_MAX: Type.Integer({
    default: 100,
    minimum: 1,
    maximum: 100_000,
    description: 'exchange clients that are kept'
  }),
  BINANCE_URL: baseUrl('another address of Binance spot'),
  BINANCE_FUTURES_URL: baseUrl('another address of Binance USD-M futures'),
  BYBIT_URL: baseUrl('another address of Bybit'),
  OKX_URL: baseUrl('another address of OKX'),
  UPBIT_URL: baseUrl('another address of Upbit'),
  BITHUMB_URL: baseUrl('another address of Bithumb'),
  METRICS_HOST: Type.Optional(
    Type.String({ minLength: 1, maxLength: 255, description: 'address of the metrics port; unset: as `HOST`' })
  ),
  METRICS_PORT: optionalPort(9464, 'port of the metrics; `off` turns it off, `0` takes any free one and prints it'),
  SCHEDULER_ENABLED: Type.Boolean({
    default: true,
    rule: 'must be true or false',
    description: '`false`: this replica serves, and claims no scheduled run'
  }),
  LANGUAGE: choice(['ko', 'en'], 'ko', 'language of outgoing messages'),
  TELEGRAM_BOT_TOKEN: Type.Optional(
    Type.String({ minLength: 1, maxLength: 256, secret: true, description: "token of the operator's Telegram bot" })
  ),
  TELEGRAM_CHAT_ID: Type.Optional(
    Type.String({ minLength: 1, maxLength: 64, description: "the operator's chat: a number, or @name" })
  ),
  TELEGRAM_TOPIC_ID: Type.Optional(
    Type.Integer({
      minimum: 2,
      maximum: 2_147_483_647,
      description: 'topic of the chat that gets the messages; unset: the general one'
    })
  ),
  TELEGRAM_COMMANDS: choice(
    ['on', 'off'],
    'on',
    'whether the bot accepts [commands](operations.md#telegram-commands); `off`: it is not polled'
  ),
  // `checkTelegramUrl` checks the host of an http address.
  TELEGRAM_API_URL: Type.String({
    default: 'https://api.telegram.org',
    pattern: '^https?://[^\\s/?#@]+(/[^\\s?#]*)?$',
    maxLength: 2048,
    rule: TELEGRAM_URL_RULE,
    description: 'the Bot API server, such as a self-hosted one'
  }),
  TELEGRAM_API_PRIVATE_HTTP: Type.Boolean({
    default: false,
    rule: 'must be true or false',
    description:
      '`true`: `TELEGRAM_API_URL` may be http in a private network, where the bot token and the messages are not encrypted'
  }),
  HEARTBEAT_URL: secretUrl(
    "[dead man's switch](operations.md#heartbeat): gets a request per minute while the cluster is healthy; unset: none"
  ),
  ALERT_WEBHOOK_URL: secretUrl('receives [alerts](operations.md#webhook), in addition to Telegram or without it'),
  ALERT_WEBHOOK_FORMAT: choice(
    ['json', 'slack'],
    'json',
    'body of these requests; `slack`: for incoming webhooks of Slack, Mattermost, and Discord (`…/slack`)'
  ),
  ALERT_WEBHOOK_SECRET: signingSecrets(
    'signs these requests; all of a comma-separated list sign, for a rotation. Required with `ALERT_WEBHOOK_URL`, unless the format is `slack`'
  ),
  HTTPS_PROXY: Type.Optional(
    Type.String({
      pattern: '^https?://[^\\s/?#]+/?$',
      maxLength: 2048,
      secret: true,
      rule: PROXY_RULE,
      description: 'proxy of outgoing calls to https addresses, with user and password where it needs them; unset: none'
    })
  ),
  NO_PROXY: Type.Optional(
    Type.String({
      maxLength: 4096,
      description: 'comma-separated hosts that are called without the proxy: `host`, `host:port`, `.domain`, `*`'
    })
  ),
  CHECK_TIMEOUT_MS: Type.Integer({
    default: 400,
    minimum: 50,
    maximum: 800,
    description: 'deadline of a database check, in milliseconds'
  }),
  MAX_EVENT_LOOP_DELAY_MS: Type.Integer({
    default: 500,
    minimum: 20,
    maximum: 10_000,
    description:
      'mean event-loop delay, in milliseconds, above which the API sheds load and readiness says `overloaded`'
  }),
  LIVENESS_STALL_SECONDS: seconds(
    30,
    2,
    3600,
    'seconds that the main event loop may be blocked before liveness says `stalled` on the probe port'
  ),
  KEEP_ALIVE_SECONDS: seconds(
    75,
    1,
    3600,
    'seconds that an idle connection to the main port or the probe port stays open; longer than the proxy keeps it'
  ),
  MAX_CONNECTIONS: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 10_000,
      description:
        'connections that each port may have; fewer where the [limit of open files](deployment.md#connections) is low; unset: 1000'
    })
  ),
  DRAIN_SECONDS: seconds(10, 0, 600, 'seconds between the first signal and the shutdown: not ready, still serving'),
  SHUTDOWN_SECONDS: seconds(20, 1, 600, 'seconds that the shutdown after the drain may take')
})

type Environment = Record<string, string | undefined>

/** The settings as the service uses them: `PROBE_PORT` is a number or `off`, `INSTANCE_ID` is always there. */
export type Config = Omit<Static<typeof configSchema>, 'PROBE_PORT' | 'METRICS_PORT' | 'INSTANCE_ID'> & {
  PROBE_PORT: number | 'off'
  METRICS_PORT: number | 'off'
  INSTANCE_ID: string
}

/**
 * A setting that breaks its rule. The message is one line that names the key and the rule, never the value. For
 * `DATABASE_URL` the rule may concern the file of its `sslrootcert`.
 */
export class ConfigError extends Error {
  override name = 'ConfigError'
}

/**
 * Reads the settings from an environment. Empty variables count as unset.
 * @throws {ConfigError} naming the first key that breaks its rule, or all secrets that are missing
 */
export function loadConfig(environment: Environment): Config {
  const given: Record<string, string> = {}
  for (const [key, schema] of Object.entries<TSchema>(configSchema.properties)) {
    const value = environment[key] || (schema.secret ? readSecretFile(key, environment) : undefined)
    if (value) given[key] = value
  }
  const settings = validate(given)
  if (settings.DATABASE_URL !== undefined) checkDatabaseUrl(settings.DATABASE_URL)
  checkTelegramUrl(settings)
  checkWebhook(settings)
  if (settings.HEARTBEAT_URL !== undefined && !URL.canParse(settings.HEARTBEAT_URL)) {
    throw new ConfigError(`HEARTBEAT_URL ${SAFE_URL_RULE}`)
  }
  if (settings.HTTPS_PROXY !== undefined && !URL.canParse(settings.HTTPS_PROXY)) {
    throw new ConfigError(`HTTPS_PROXY ${PROXY_RULE}`)
  }
  const missing = (['SESSION_SECRET', 'ENCRYPTION_KEY'] as const).filter(secret => settings[secret] === undefined)
  if (settings.DATABASE_URL !== undefined && missing.length > 0) {
    throw new ConfigError(`${missing.join(' and ')} must be set when DATABASE_URL is`)
  }
  return {
    ...settings,
    PROBE_PORT: portOf(settings.PROBE_PORT),
    METRICS_PORT: portOf(settings.METRICS_PORT),
    INSTANCE_ID: settings.INSTANCE_ID ?? `${hostname()}-${randomBytes(4).toString('hex')}`
  }
}

function checkDatabaseUrl(url: string): void {
  try {
    parseDatabaseUrl(url)
  } catch (cause) {
    if (!(cause instanceof DatabaseUrlError)) throw cause
    throw new ConfigError(`DATABASE_URL: ${cause.message}`, { cause })
  }
}

/** @throws {ConfigError} where the bot token would leave this machine unencrypted, unless the operator enabled that */
function checkTelegramUrl({ TELEGRAM_API_URL: url, TELEGRAM_API_PRIVATE_HTTP: enabled }: Static<typeof configSchema>) {
  if (isSafeUrl(url) || (enabled && URL.canParse(url) && isPrivateHost(new URL(url).hostname))) return
  throw new ConfigError(`TELEGRAM_API_URL ${TELEGRAM_URL_RULE}`)
}

/** @throws {ConfigError} for an address that is no URL, and where a receiver could not know who sent a request */
function checkWebhook(settings: Static<typeof configSchema>) {
  const { ALERT_WEBHOOK_URL: url, ALERT_WEBHOOK_FORMAT: format, ALERT_WEBHOOK_SECRET: secret } = settings
  if (url === undefined) return
  if (!URL.canParse(url)) throw new ConfigError(`ALERT_WEBHOOK_URL ${SAFE_URL_RULE}`)
  if (format === 'json' && secret === undefined) {
    throw new ConfigError('ALERT_WEBHOOK_SECRET must be set when ALERT_WEBHOOK_URL is and the format is json')
  }
}

function portOf(text: string): number | 'off' {
  return text === 'off' ? 'off' : Number(text)
}

/** Container platforms mount secrets as files; a trailing line break is theirs, not part of the secret. */
function readSecretFile(key: string, environment: Environment): string | undefined {
  const path = environment[`${key}_FILE`]
  if (!path) return undefined
  try {
    return readFileSync(path, 'utf8').replace(/\r?\n$/, '')
  } catch (cause) {
    throw new ConfigError(`${key}_FILE must name a readable file`, { cause })
  }
}

/** env-schema sets a property of the schema that it is given. */
const validatedSchema = structuredClone(configSchema)
/** Compiles the schema once: `Ajv` knows compiled schemas by identity. */
let validator: Ajv | undefined

type Ajv = Parameters<Extract<EnvSchemaOpt['ajv'], { customOptions: unknown }>['customOptions']>[0]

function withOwnWords(ajv: Ajv): Ajv {
  return ajv
    .addVocabulary(['rule', 'secret'])
    .addFormat('time-zone', isTimeZone)
    .addFormat('network-list', isNetworkList)
}

function validate(given: Record<string, string>): Static<typeof configSchema> {
  try {
    return envSchema<Static<typeof configSchema>>({
      schema: validatedSchema,
      data: given,
      env: false,
      // For `customOptions` env-schema makes a new `Ajv`, which takes 10 ms.
      ajv: validator ?? {
        customOptions: ajv => {
          validator = withOwnWords(ajv)
          return validator
        }
      }
    })
  } catch (err) {
    const [problem] = (err as { errors?: { instancePath: string; message?: string }[] }).errors ?? []
    if (!problem) throw err
    const key = problem.instancePath.slice(1)
    const schema: TSchema | undefined = Object.entries<TSchema>(configSchema.properties).find(
      ([name]) => name === key
    )?.[1]
    const allowed = schema?.enum ? `: ${schema.enum.join(', ')}` : ''
    // The cause holds the value, which may be a secret: it is left behind.
    throw new ConfigError(`${key} ${schema?.rule ?? problem.message}${allowed}`)
  }
}
