// The operator's commands: npm run admin -- COMMAND …
import { userInfo } from 'node:os'
import { parseArgs } from 'node:util'
import { type AuditEntry, AuditLog } from '../auth/audit-log.ts'
import { generatedSecret } from '../auth/generated-secret.ts'
import { PASSWORD_MAX, PASSWORD_MIN, Passwords } from '../auth/passwords.ts'
import { USERNAME_PATTERN, Users } from '../auth/users.ts'
import { ConfigError, isSafeUrl, loadConfig } from '../config.ts'
import type { TransactionSql } from '../database/client.ts'
import { Database } from '../database/database.ts'
import { migrate } from '../database/migrate.ts'
import type { AccountArguments } from './account-commands.ts'
import { CommandError } from './command-error.ts'
import { readSecret } from './read-secret.ts'

const USAGE = `usage: npm run admin -- COMMAND

  user:create NAME [--admin]   the password is asked for, or the first line of standard input
  user:list
  user:disable NAME            ends the user's sessions
  user:telegram NAME --chat=ID the chat of a user's daily summaries, or none
  user:password NAME           the password is asked for, or the first line of standard input
  account:add --user NAME --exchange EXCHANGE --name NAME [--testnet]
                               key, secret and, for OKX, passphrase are asked for, or lines of standard input
  account:list
  account:test NUMBER          calls the exchange and says what works
  account:disable NUMBER
  keys:rotate                  encrypt all keys with the first of ENCRYPTION_KEY
  migrate                      bring the schema up to date
  status NAME [--url URL]      how the running service is; NAME signs in, with the password asked for or read
`

/** Stands for a secret that a command does not need, such as that of the cookies: it signs nobody in. */
const UNUSED_SECRET = Buffer.alloc(32).toString('base64')

const TELEGRAM_CHAT = /^(-?\d{1,20}|none)$/

interface Context {
  database: Database
  users: Users
  passwords: Passwords
  name: () => string
  chat: string
  isAdmin: boolean
  /** Writes the command down in the transaction of its change. */
  audited: (target: string) => (tx: TransactionSql) => Promise<void>
}

const commands: Record<string, (context: Context) => Promise<string>> = {
  'user:create': async ({ users, passwords, name, isAdmin, audited }) => {
    const username = name()
    const passwordHash = await passwords.hash(await newPassword())
    const created = await users.create({ username, passwordHash, isAdmin }, audited(username))
    if (!created) throw new CommandError(`${username} exists already`)
    return `${username} created${isAdmin ? ', an admin' : ''}`
  },
  'user:list': async ({ users }) => {
    const list = await users.list()
    return list
      .map(({ username, isAdmin, isActive, lastSignInAt }) =>
        [
          username,
          isAdmin ? 'admin' : 'user',
          isActive ? 'active' : 'disabled',
          lastSignInAt?.toISOString() ?? 'never'
        ].join('\t')
      )
      .join('\n')
  },
  'user:disable': async ({ users, name, audited }) => {
    const username = name()
    if (!(await users.disable(username, audited(username)))) throw new CommandError(`there is no user ${username}`)
    return `${username} disabled`
  },
  'user:telegram': async ({ users, name, chat, audited }) => {
    const username = name()
    if (!TELEGRAM_CHAT.test(chat)) throw new CommandError('--chat= is a number, as Telegram gives it, or none')
    const chatId = chat === 'none' ? null : chat
    if (!(await users.setTelegramChat(username, chatId, audited(username)))) {
      throw new CommandError(`there is no user ${username}`)
    }
    return `summaries of ${username} go to ${chatId ?? 'nobody'}`
  },
  'user:password': async ({ users, passwords, name, audited }) => {
    const username = name()
    if (!(await users.find(username))) throw new CommandError(`there is no user ${username}`)
    await users.setPassword(username, await passwords.hash(await newPassword()), {}, audited(username))
    return `password of ${username} changed`
  },
  migrate: async () => 'schema up to date'
}

process.exitCode = await main()

async function main(): Promise<number> {
  try {
    const { positionals, values } = parseArgs({
      allowPositionals: true,
      options: {
        admin: { type: 'boolean', default: false },
        chat: { type: 'string', default: '' },
        url: { type: 'string' },
        user: { type: 'string' },
        exchange: { type: 'string' },
        name: { type: 'string' },
        testnet: { type: 'boolean', default: false }
      }
    })
    const [commandName = '', ...names] = positionals
    if (commandName === 'status') return await status(usernameOf(names), values.url)
    if (/^(account|keys):/.test(commandName)) return await account(commandName, { words: names, ...values })
    const command = Object.hasOwn(commands, commandName) ? commands[commandName] : undefined
    if (!command) throw new CommandError(USAGE)
    const said = await withDatabase(database =>
      command({
        database,
        users: new Users(database),
        passwords: new Passwords(),
        isAdmin: values.admin,
        audited: target => tx => new AuditLog(database).record(entryOf(commandName, target), tx),
        name: () => usernameOf(names),
        chat: values.chat
      })
    )
    if (said) process.stdout.write(`${said}\n`)
    return 0
  } catch (err) {
    const expected = err instanceof CommandError || err instanceof ConfigError || err instanceof TypeError
    process.stderr.write(`${err instanceof Error ? err.message : String(err)}\n`)
    return expected ? 2 : 1
  }
}

/** Commands that read or write the accounts' keys: these need the real one. */
async function account(commandName: string, given: AccountArguments): Promise<number> {
  const { runAccountCommand } = await import('./account-commands.ts')
  const config = loadConfig({ SESSION_SECRET: UNUSED_SECRET, ...process.env })
  const ENCRYPTION_KEY = config.ENCRYPTION_KEY ?? (await generatedSecret(config.DATA_DIR, 'encryption-key'))
  const outcome = await withDatabase(async database =>
    runAccountCommand(commandName, given, {
      database,
      config: { ...config, ENCRYPTION_KEY },
      audited: target => tx => new AuditLog(database).record(entryOf(commandName, target), tx)
    })
  )
  if (!outcome) throw new CommandError(USAGE)
  if (outcome.text) process.stdout.write(`${outcome.text}\n`)
  return outcome.exitCode
}

/** Asks the service itself, for the database does not know what a replica sees. */
async function status(username: string, given: string | undefined): Promise<number> {
  const { readStatus, statusPage } = await import('./operator-status.ts')
  const { PORT } = loadConfig({ PORT: process.env.PORT })
  const url = given ?? `http://127.0.0.1:${PORT}`
  if (!isSafeUrl(url)) throw new CommandError('--url must be an https address, or an http one on loopback')
  process.stdout.write(`${statusPage(await readStatus(new URL(url), username, await readSecret('password: ')))}\n`)
  return 0
}

/** A colon is in no user's name, so that nobody is taken for the operator. */
function entryOf(action: string, target: string): AuditEntry {
  return { actor: `cli:${operator()}`, address: null, action, target, outcome: 'succeeded', requestId: null }
}

function operator(): string {
  try {
    return userInfo().username
  } catch {
    // A container's user need not have a name.
    return String(process.getuid?.())
  }
}

/** Works on the database that the service uses: the named one, or the embedded one, running or not. */
async function withDatabase<T>(work: (database: Database) => Promise<T>): Promise<T> {
  const quiet = () => undefined
  const log = { trace: quiet, debug: quiet, info: quiet, warn: quiet, error: quiet, fatal: quiet, child: () => log }
  const { DATABASE_URL, DATA_DIR, SERVICE_NAME } = loadConfig({
    SESSION_SECRET: UNUSED_SECRET,
    ENCRYPTION_KEY: UNUSED_SECRET,
    ...process.env
  })
  const database = new Database({ max: 2, applicationName: `${SERVICE_NAME}-admin`, log })
  const embedded = DATABASE_URL === undefined ? await openEmbedded(DATA_DIR, log) : undefined
  try {
    database.open(DATABASE_URL ?? embedded?.url ?? '')
    await migrate(database)
    return await work(database)
  } finally {
    await database.close()
    await embedded?.stop()
  }
}

async function openEmbedded(dataDir: string, log: ConstructorParameters<typeof Database>[0]['log']) {
  const { runningEmbeddedPostgres, startEmbeddedPostgres } = await import('../database/embedded.ts')
  const url = await runningEmbeddedPostgres(dataDir)
  if (url !== undefined) return { url, stop: async () => undefined }
  return startEmbeddedPostgres({ dataDir, log })
}

async function newPassword(): Promise<string> {
  const password = await readSecret('password: ')
  if (password.length < PASSWORD_MIN || password.length > PASSWORD_MAX) {
    throw new CommandError(`a password has ${PASSWORD_MIN} to ${PASSWORD_MAX} characters`)
  }
  return password
}

function usernameOf([name, ...more]: string[]): string {
  if (name === undefined || more.length > 0) throw new CommandError(USAGE)
  if (!new RegExp(USERNAME_PATTERN).test(name)) {
    throw new CommandError(
      'a user name has 1 to 64 letters, digits, dots, dashes, underscores or @, and begins with a letter or digit'
    )
  }
  return name
}
