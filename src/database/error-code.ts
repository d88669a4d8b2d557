/** The `code` of a system error such as ENOENT. @returns undefined for anything that has none */
export function errorCode(err: unknown): string | undefined {
  return err instanceof Error && 'code' in err && typeof err.code === 'string' ? err.code : undefined
}
