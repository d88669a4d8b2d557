// The operator's commands: npm run admin -- COMMAND …
import { CommanderError } from 'commander'
import { ConfigError } from '../config.ts'
import { DatabaseUnavailableError } from '../database/failure.ts'
import { errorMessage } from '../log/error-fields.ts'
import { redactCredentials } from '../log/redact.ts'
import { printUncaught } from '../log/uncaught.ts'
import { StartError } from '../start-error.ts'
import { CommandError } from './command-error.ts'
import type { CommandResult } from './command-result.ts'
import { sentenceOf } from './operator-database.ts'
import { createProgram, runProgram } from './program.ts'

/** The operator made a mistake: in the command line, its input, or a setting. */
const EXIT_USAGE = 2

printUncaught('admin')
process.exitCode = await main(process.argv.slice(2))

/** Runs one command. Returns the exit code of the process: 0, 1 (the command failed) or 2 (wrong usage). */
async function main(words: readonly string[]): Promise<number> {
  let exitCode = 0
  try {
    const report = (result: CommandResult) => {
      process.stdout.write(`${result.text}\n`)
      exitCode = result.exitCode
    }
    await runProgram(createProgram(report), words, report)
    return exitCode
  } catch (err) {
    if (err instanceof CommanderError) return err.exitCode === 0 ? 0 : EXIT_USAGE
    process.stderr.write(`${messageOf(err)}\n`)
    return err instanceof CommandError || err instanceof ConfigError ? EXIT_USAGE : 1
  }
}

function messageOf(err: unknown): string {
  if (err instanceof DatabaseUnavailableError) return sentenceOf(err)
  // Sentences of ours quote names, never values.
  if (err instanceof CommandError || err instanceof ConfigError || err instanceof StartError) {
    return redactCredentials(err.message)
  }
  return errorMessage(err)
}
