import { ServiceError } from '../errors.ts'

/** The scheme of a header, in any case: what follows must not be a character of a longer scheme. */
const SCHEME = /^bearer(?![\w!#$%&'*+.^`|~-])/i
const CREDENTIAL = /^bearer +(\S+)$/i

/**
 * The credential of `Authorization: Bearer`. Headers of other schemes, as proxies add them, do not count.
 * @param headers names and values in turn, as Node's `rawHeaders`
 * @returns undefined without a header of this scheme; an empty text, which is no token, when the header is malformed or
 * there is another `Authorization` header
 */
export function bearerOf(headers: readonly string[]): string | undefined {
  const values = headers.filter((_, i) => i % 2 === 1 && headers[i - 1]?.toLowerCase() === 'authorization')
  if (!values.some(value => SCHEME.test(value))) return undefined
  return values.length === 1 ? (CREDENTIAL.exec(values[0] ?? '')?.[1] ?? '') : ''
}

/** The rejection of a request without valid credentials, with the scheme of tokens. */
export function unauthenticated(): ServiceError {
  return new ServiceError('UNAUTHENTICATED', { headers: { 'www-authenticate': 'Bearer' } })
}
