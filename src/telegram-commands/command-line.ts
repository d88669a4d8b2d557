// @FEAT:health-monitoring @COMP:service @TYPE:helper
import { wellFormed } from '../notifications/html.ts'

/** The commands, in the order of the menu. */
export const COMMAND_NAMES = [
  'status',
  'jobs',
  'run',
  'pause',
  'resume',
  'stop',
  'start',
  'daily',
  'positions',
  'books',
  'health',
  'help'
] as const

export type CommandName = (typeof COMMAND_NAMES)[number]

/** The commands of a user in the own private chat. */
export const USER_COMMANDS: readonly CommandName[] = ['daily', 'positions', 'help']

/** A line that begins with a command. */
export interface CommandLine {
  /** Undefined for a command that does not exist. */
  name: CommandName | undefined
  /** The bot that the command is for, in lower case; undefined where it names none. */
  bot: string | undefined
  /** The arguments, with single spaces between them. */
  rest: string
}

const COMMAND = /^\/([a-z0-9_]{1,32})(?:@([a-z0-9_]{1,64}))?(?= |$)/i

/** Reads a command: `/run housekeeping`, `/run@name_of_bot housekeeping`. @returns undefined for any other text */
export function readCommand(text: string): CommandLine | undefined {
  // Postgres stores no zero byte.
  const line = wellFormed(text)
    .replace(/[\p{Cc}\p{Z}]+/gu, ' ')
    .trim()
  const match = COMMAND.exec(line)
  if (!match) return undefined
  const [command, name = '', bot] = match
  const wanted = name.toLowerCase()
  return {
    name: COMMAND_NAMES.find(known => known === wanted),
    bot: bot?.toLowerCase(),
    rest: line.slice(command.length).trim()
  }
}
