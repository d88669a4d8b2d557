import { Command } from 'commander'
import { addAccountCommands } from './account-commands.ts'
import { addBookCommands } from './book-commands.ts'
import { CommandError } from './command-error.ts'
import { type CommandResult, succeeded } from './command-result.ts'
import { addMigrateCommand } from './migrate-command.ts'
import { addStatusCommand } from './status-command.ts'
import { addTokenCommands } from './token-commands.ts'
import { addUserCommands } from './user-commands.ts'

/**
 * The command line with all commands.
 * @param report receives the result of the command that ran
 */
export function createProgram(report: (result: CommandResult) => void): Command {
  const program = new Command('npm run admin --')
    .description('Commands for the operator of trading-health. They read the settings of the service.')
    .usage('COMMAND [options]')
    .exitOverride()
    // The value of an unknown option may be a secret.
    .configureOutput({ outputError: (text, write) => write(text.replace(/'(-[^'=]*)=.*'/s, "'$1'")) })
    .helpCommand('help [command]', 'show the help of a command')
  const groups = [
    addUserCommands,
    addTokenCommands,
    addAccountCommands,
    addBookCommands,
    addStatusCommand,
    addMigrateCommand
  ]
  for (const add of groups) add(program, report)
  return program
}

/**
 * Runs the command that `words` name.
 * @param report receives the help that is asked for on the first part of commands (`user --help`)
 * @throws {CommandError} for the first part of commands (`user`), and what the command throws
 * @throws {CommanderError} for a command line that is wrong, or asks for help: the message is printed already
 */
export async function runProgram(
  program: Command,
  words: readonly string[],
  report: (result: CommandResult) => void
): Promise<void> {
  const [first = '', second = ''] = words
  const name = first === 'help' ? second : first
  const group = program.commands.filter(command => command.name().startsWith(`${name}:`))
  if (name !== '' && group.length > 0) {
    const asksForHelp = [first, second].some(word => ['help', '--help', '-h'].includes(word))
    if (asksForHelp) return report(succeeded(groupHelp(name, group)))
    throw new CommandError(groupHelp(name, group))
  }
  // commander shows the general help for a name that it does not know.
  const isUnknown = first === 'help' && second !== '' && !program.commands.some(command => command.name() === second)
  await program.parseAsync(isUnknown ? [second] : words, { from: 'user' })
}

function groupHelp(name: string, commands: readonly Command[]): string {
  const width = Math.max(...commands.map(command => command.name().length))
  const lines = commands.map(command => `  ${command.name().padEnd(width)}  ${command.description()}`)
  return [`${name} is not a command. The commands are:`, ...lines].join('\n')
}
