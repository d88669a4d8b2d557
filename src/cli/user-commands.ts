import type { Command } from 'commander'
import { removeFirstPassword } from '../auth/first-admin.ts'
import { PASSWORD_MAX, PASSWORD_MIN, Passwords } from '../auth/passwords.ts'
import { endSessions, openSessions, SESSION_NUMBER } from '../auth/user-sessions.ts'
import { type NotChanged, ROLES, type Role, USERNAME_PATTERN, Users } from '../auth/users.ts'
import type { Database } from '../database/database.ts'
import { message } from '../messages.ts'
import { CommandError } from './command-error.ts'
import { type CommandResult, succeeded } from './command-result.ts'
import { type Audit, embeddedDataDir, operatorConfig, withDatabase } from './operator-database.ts'
import { readNewSecret } from './read-secret.ts'
import { table } from './table.ts'

const TELEGRAM_CHAT = /^(-?\d{1,20}|none)$/
const PASSWORD_SOURCE = 'the password is asked for twice, or is the first line of standard input'

/** Adds the commands of the service's users: `user:create`, `user:list` and so on. */
export function addUserCommands(program: Command, report: (result: CommandResult) => void): void {
  const run = async (action: string, work: (users: Users, audit: Audit, database: Database) => Promise<string>) =>
    report(succeeded(await withDatabase(action, (database, audit) => work(new Users(database), audit, database))))
  program
    .command('user:create')
    .description(`create a user; ${PASSWORD_SOURCE}`)
    .argument('<name>')
    .option('--role <role>', `one of ${ROLES.join(', ')}`, 'user')
    .option('--admin', 'give the user the admin role, as --role admin', false)
    .action((name: string, options: { role: string; admin: boolean }) =>
      run('user:create', (users, audit) => create(users, audit, name, options.admin ? 'admin' : options.role))
    )
  program
    .command('user:list')
    .description('list the users')
    .action(() => run('user:list', list))
  addAccessCommands(program, run)
  program
    .command('user:telegram')
    .description("set the Telegram chat that receives a user's daily summaries")
    .argument('<name>')
    .requiredOption('--chat <id>', 'a number as Telegram gives it, or none')
    .action((name: string, { chat }: { chat: string }) =>
      run('user:telegram', (users, audit) => setChat(users, audit, name, chat))
    )
  program
    .command('user:password')
    .description(`set a user's password; ${PASSWORD_SOURCE}`)
    .argument('<name>')
    .action((name: string) => run('user:password', (users, audit) => setPassword(users, audit, name)))
}

type Run = (action: string, work: (users: Users, audit: Audit, database: Database) => Promise<string>) => Promise<void>

/** The commands that decide who may sign in, as what, and whose sessions end. */
function addAccessCommands(program: Command, run: Run): void {
  program
    .command('user:disable')
    .description("disable a user, and end the user's sessions")
    .argument('<name>')
    .action((name: string) => run('user:disable', (users, audit) => disable(users, audit, name)))
  program
    .command('user:enable')
    .description('enable a user who was disabled')
    .argument('<name>')
    .action((name: string) => run('user:enable', (users, audit) => enable(users, audit, name)))
  program
    .command('user:role')
    .description("set a user's role")
    .argument('<name>')
    .argument('<role>', `one of ${ROLES.join(', ')}`)
    .action((name: string, role: string) => run('user:role', (users, audit) => setRole(users, audit, name, role)))
  program
    .command('user:sessions')
    .description("list a user's open sessions, or end them")
    .argument('<name>')
    .option('--end <session>', 'end this session, as the list shows it')
    .option('--end-all', 'end all sessions of the user', false)
    .action((name: string, options: SessionOptions) =>
      run('user:sessions', (_users, audit, database) => sessions(database, audit, name, options))
    )
}

/** Options of `user:sessions`. */
interface SessionOptions {
  end?: string
  endAll: boolean
}

async function create(users: Users, audit: Audit, name: string, given: string): Promise<string> {
  const username = checkUsername(name)
  const role = checkRole(given)
  const passwordHash = await hashOfNewPassword(username)
  if (!(await users.create({ username, passwordHash, role }, audit(`${username} ${role}`)))) {
    throw new CommandError(`${username} exists already`)
  }
  return `${username} created with the role ${role}`
}

async function list(users: Users): Promise<string> {
  const all = await users.list()
  if (all.length === 0) return 'There are no users. Create one with user:create.'
  return table(
    ['name', 'role', 'state', 'last_sign_in'],
    all.map(({ username, role, isActive, lastSignInAt }) => [
      username,
      role,
      isActive ? 'active' : 'disabled',
      lastSignInAt?.toISOString() ?? 'never'
    ])
  )
}

async function disable(users: Users, audit: Audit, name: string): Promise<string> {
  const username = checkUsername(name)
  assertChanged(await users.disable(username, audit(username)), username)
  return `${username} disabled`
}

async function enable(users: Users, audit: Audit, name: string): Promise<string> {
  const username = checkUsername(name)
  if (!(await users.enable(username, audit(username)))) throw noUser(username)
  return `${username} enabled`
}

async function setRole(users: Users, audit: Audit, name: string, given: string): Promise<string> {
  const username = checkUsername(name)
  const role = checkRole(given)
  assertChanged(await users.setRole(username, role, audit(`${username} ${role}`)), username)
  return `${username} has the role ${role}`
}

/** @throws {CommandError} when there is no such role */
export function checkRole(given: string): Role {
  const role = ROLES.find(role => role === given)
  if (!role) throw new CommandError(`the role is one of ${ROLES.join(', ')}`)
  return role
}

/** @throws {CommandError} */
function assertChanged(reason: NotChanged | undefined, username: string): void {
  if (reason === 'no_user') throw noUser(username)
  if (reason === 'last_admin') {
    throw new CommandError(
      `${username} is the only admin who is not disabled: create or enable another one first, or give another user the role`
    )
  }
}

async function sessions(database: Database, audit: Audit, name: string, { end, endAll }: SessionOptions) {
  const username = checkUsername(name)
  if (end !== undefined && endAll) throw new CommandError('--end and --end-all cannot be combined')
  if (end !== undefined && !SESSION_NUMBER.test(end)) {
    throw new CommandError('--end is the number of a session as user:sessions shows it: 12 hexadecimal digits')
  }
  if (end === undefined && !endAll) return listSessions(database, username)
  const ended = await endSessions(database, { username, number: end }, audit(`${username} ${end ?? 'all'}`))
  if (ended === undefined) throw noUser(username)
  if (end !== undefined && ended === 0) return `${username} has no session ${end}`
  return `sessions of ${username} ended: ${ended}`
}

async function listSessions(database: Database, username: string): Promise<string> {
  const open = await openSessions(database, username, operatorConfig().SESSION_IDLE_MINUTES)
  if (!open) throw noUser(username)
  if (open.length === 0) return `${username} has no open session`
  const rows = open.map(({ number, openedAt, lastSeenAt, expiresAt, address }) => [
    number,
    openedAt.toISOString(),
    lastSeenAt.toISOString(),
    expiresAt.toISOString(),
    address ?? 'unknown'
  ])
  return table(['session', 'opened', 'last_seen', 'ends', 'address'], rows)
}

async function setChat(users: Users, audit: Audit, name: string, chat: string): Promise<string> {
  const username = checkUsername(name)
  if (!TELEGRAM_CHAT.test(chat)) throw new CommandError('--chat is a number as Telegram gives it, or none')
  const chatId = chat === 'none' ? null : chat
  if (!(await users.setTelegramChat(username, chatId, audit(username)))) throw noUser(username)
  return chatId === null ? `${username} receives no summaries` : `summaries of ${username} go to ${chatId}`
}

async function setPassword(users: Users, audit: Audit, name: string): Promise<string> {
  const username = checkUsername(name)
  if (!(await users.find(username))) throw noUser(username)
  const notes: string[] = []
  users.onPasswordSet(async () => void notes.push(...(await noteOnFirstPassword(username))))
  await users.setPassword(username, await hashOfNewPassword(username), {}, audit(username))
  return [`password of ${username} changed`, ...notes].join('\n')
}

/** Removes the file with the first password. @returns a note for the operator when that failed */
async function noteOnFirstPassword(username: string): Promise<string[]> {
  const dataDir = embeddedDataDir()
  try {
    if (dataDir !== undefined) await removeFirstPassword(dataDir, username)
    return []
  } catch (err) {
    return [`the file with the former password was not removed: ${err instanceof Error ? err.message : err}`]
  }
}

async function hashOfNewPassword(username: string): Promise<string> {
  const password = await readNewSecret('password')
  if (password.length < PASSWORD_MIN || password.length > PASSWORD_MAX) {
    throw new CommandError(`a password has ${PASSWORD_MIN} to ${PASSWORD_MAX} characters`)
  }
  const passwords = new Passwords()
  const weakness = await passwords.weakness(password, username)
  if (weakness) throw new CommandError(message(weakness, 'en'))
  return passwords.hash(password)
}

function noUser(username: string): CommandError {
  return new CommandError(`there is no user ${username}`)
}

/** Returns a user name as it is. @throws {CommandError} when it breaks the rule of user names */
export function checkUsername(name: string): string {
  if (new RegExp(USERNAME_PATTERN).test(name)) return name
  throw new CommandError(
    'a user name has 1 to 64 letters, digits, dots, dashes, underscores or @, and begins with a letter or digit'
  )
}
