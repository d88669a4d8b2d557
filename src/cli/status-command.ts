// @FEAT:health-monitoring @COMP:service @TYPE:helper
import type { Command } from 'commander'
import { loadConfig } from '../config.ts'
import { isSafeUrl } from '../setting-types.ts'
import { CommandError } from './command-error.ts'
import { type CommandResult, succeeded } from './command-result.ts'
import { readSecret } from './read-secret.ts'
import { checkUsername } from './user-commands.ts'

/** Adds `status`. It asks the service over HTTP, because the database does not hold what a replica observes. */
export function addStatusCommand(program: Command, report: (result: CommandResult) => void): void {
  program
    .command('status')
    .description('show the state of the running service; the password is asked for, or read from standard input')
    .argument('<name>', 'an admin, who signs in')
    .option('--url <url>', 'address of the service (default: the main port on this machine)')
    .action(async (name: string, { url }: { url?: string }) => report(succeeded(await status(name, url))))
}

async function status(name: string, url: string | undefined): Promise<string> {
  const { readStatus, statusPage } = await import('./service-status.ts')
  const username = checkUsername(name)
  const { PORT } = loadConfig({ PORT: process.env.PORT })
  const base = url ?? `http://127.0.0.1:${PORT}`
  if (!isSafeUrl(base)) throw new CommandError('--url must be an https address, or an http one on loopback')
  return statusPage(await readStatus(new URL(base), username, await readSecret('password: ')))
}
