/**
 * The code of the error that a call rejects with, for exact comparison.
 * @returns undefined for an error without a code
 * @throws {Error} when the call succeeds
 */
export async function codeOf(call: PromiseLike<unknown>): Promise<unknown> {
  try {
    await call
  } catch (err) {
    return err instanceof Error && 'code' in err ? err.code : undefined
  }
  throw new Error('the call did not fail')
}
