/** What a command prints to standard output, and the exit code that it ends with. */
export interface CommandResult {
  text: string
  /** 1 when the command ran and what it reports is a failure. */
  exitCode: 0 | 1
}

/** The result of a command that succeeded. */
export function succeeded(text: string): CommandResult {
  return { text, exitCode: 0 }
}
