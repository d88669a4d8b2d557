import type { Command } from 'commander'
import {
  createToken,
  listTokens,
  MAX_TOKEN_DAYS,
  type NotCreated,
  revokeToken,
  TOKEN_NAME_PATTERN
} from '../auth/token-table.ts'
import { ROLES } from '../auth/users.ts'
import { isNetworkList, networkList } from '../client-address.ts'
import type { Database } from '../database/database.ts'
import { CommandError } from './command-error.ts'
import { type CommandResult, succeeded } from './command-result.ts'
import { type Audit, withDatabase } from './operator-database.ts'
import { table } from './table.ts'
import { checkRole, checkUsername } from './user-commands.ts'

/** Addresses and networks of one token. */
const MAX_NETWORKS = 32

/** Options of `token:create`. */
interface CreateOptions {
  role: string
  days: string
  user?: string
  from: readonly string[]
}

/** Adds the commands of the tokens with which scripts call the API. */
export function addTokenCommands(program: Command, report: (result: CommandResult) => void): void {
  const run = async (action: string, work: (database: Database, audit: Audit) => Promise<string>) =>
    report(succeeded(await withDatabase(action, work)))
  program
    .command('token:create')
    .description('create a token for a script; it is printed once, alone on standard output')
    .argument('<name>')
    .requiredOption('--role <role>', `one of ${ROLES.join(', ')}`)
    .requiredOption('--days <days>', `how long it is valid: 1 to ${MAX_TOKEN_DAYS}`)
    .option('--from <network>', 'only clients with this address or network may use it; repeat it for more', collect, [])
    .option('--user <name>', 'the user for whom it acts, required with the role user')
    .action((name: string, options: CreateOptions) =>
      run('token:create', (database, audit) => create(database, audit, name, options))
    )
  program
    .command('token:list')
    .description('list the tokens, without the tokens themselves')
    .action(() => run('token:list', list))
  program
    .command('token:revoke')
    .description('revoke a token: from now on it is rejected')
    .argument('<name>')
    .action((name: string) => run('token:revoke', (database, audit) => revoke(database, audit, name)))
}

function collect(value: string, earlier: readonly string[]): string[] {
  return [...earlier, value]
}

async function create(database: Database, audit: Audit, given: string, options: CreateOptions): Promise<string> {
  const name = checkName(given)
  const role = checkRole(options.role)
  const days = checkDays(options.days)
  const networks = checkNetworks(options.from)
  const username = options.user === undefined ? undefined : checkUsername(options.user)
  if (role === 'user' && username === undefined) throw new CommandError('a token with the role user needs --user')
  const target = [name, role, `${days} days`, ...(username ? [`for ${username}`] : []), networks ?? []].flat().join(' ')
  const created = await createToken(database, { name, role, username, networks, days }, audit(target))
  if (typeof created === 'string') throw notCreated(created, name, username)
  return created.token
}

async function list(database: Database): Promise<string> {
  const tokens = await listTokens(database)
  if (tokens.length === 0) return 'There are no tokens. Create one with token:create.'
  return table(
    ['name', 'role', 'user', 'networks', 'created', 'expires', 'last_used', 'revoked'],
    tokens.map(({ name, role, username, networks, createdAt, expiresAt, lastUsedAt, revokedAt }) => [
      name,
      role,
      username,
      networks ?? 'any',
      createdAt.toISOString(),
      expiresAt.toISOString(),
      lastUsedAt?.toISOString() ?? 'never',
      revokedAt?.toISOString()
    ])
  )
}

async function revoke(database: Database, audit: Audit, given: string): Promise<string> {
  const name = checkName(given)
  if (!(await revokeToken(database, name, audit(name)))) throw new CommandError(`there is no token ${name}`)
  return `${name} revoked`
}

function notCreated(reason: NotCreated, name: string, username: string | undefined): CommandError {
  const sentences: Record<NotCreated, string> = {
    name_taken: `there is a token ${name} already: a name is free again 90 days after the end of its token`,
    no_user: `there is no user ${username} who is not disabled`,
    role_above_user: `the role is above that of ${username}`
  }
  return new CommandError(sentences[reason])
}

/** @throws {CommandError} */
function checkName(name: string): string {
  if (new RegExp(TOKEN_NAME_PATTERN).test(name) && !name.startsWith('th_')) return name
  // A token in place of its name must not be printed.
  throw new CommandError(
    'the name of a token has 1 to 64 letters, digits, dots, dashes and underscores, and begins with a letter or digit, but not with th_ as tokens do'
  )
}

/** @throws {CommandError} */
function checkDays(text: string): number {
  const days = /^[1-9]\d{0,2}$/.test(text) ? Number(text) : 0
  if (days < 1 || days > MAX_TOKEN_DAYS) throw new CommandError(`--days is a number from 1 to ${MAX_TOKEN_DAYS}`)
  return days
}

/** @returns undefined without any @throws {CommandError} */
function checkNetworks(given: readonly string[]): string | undefined {
  if (given.length === 0) return undefined
  const networks = given.flatMap(networkList)
  if (networks.length === 0 || networks.length > MAX_NETWORKS || !given.every(isNetworkList)) {
    throw new CommandError(
      `--from has 1 to ${MAX_NETWORKS} addresses or networks, such as 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32`
    )
  }
  return networks.join(',')
}
