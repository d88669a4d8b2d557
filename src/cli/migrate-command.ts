import type { Command } from 'commander'
import { type CommandResult, succeeded } from './command-result.ts'
import { withDatabase } from './operator-database.ts'

/** Adds `migrate`. */
export function addMigrateCommand(program: Command, report: (result: CommandResult) => void): void {
  program
    .command('migrate')
    .description('bring the database schema up to date')
    .action(async () => {
      // Opening the database migrates it.
      await withDatabase('migrate', async () => undefined)
      report(succeeded('schema up to date'))
    })
}
