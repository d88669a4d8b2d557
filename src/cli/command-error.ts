/** What went wrong with a command, in a sentence for the operator. */
export class CommandError extends Error {
  override name = 'CommandError'
}
