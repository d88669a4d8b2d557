import { Type } from '@sinclair/typebox'

/** A port. */
export const port = (fallback: number, description: string) =>
  Type.Integer({ default: fallback, minimum: 0, maximum: 65_535, description })

/** A port, or `off`. The environment gives strings, so the number is read by `portOf`. */
export const optionalPort = (fallback: number, description: string) =>
  Type.String({
    default: String(fallback),
    pattern: '^(off|[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$',
    rule: 'must be a port from 0 to 65535, or off',
    description
  })

/** Secrets go there: by TLS, or not out of this machine. */
const SAFE_URL = '^(https://[^\\s/?#@]+|http://(127\\.[0-9.]+|localhost|\\[::1\\])(:[0-9]+)?)(/[^\\s?#]*)?$'

/** Whether a secret may be sent to an address. */
export function isSafeUrl(url: string): boolean {
  return new RegExp(SAFE_URL).test(url)
}

/** As above, with a query: receivers have tokens there. */
const SAFE_URL_WITH_QUERY = SAFE_URL.replace(/\$$/, '(\\?[^\\s#]*)?$')

/** The rule of an address where secrets go. */
export const SAFE_URL_RULE = 'must be an https address, or an http one on loopback'
/** An address without a query, or unset. */
export const baseUrl = (description: string) =>
  Type.Optional(
    Type.String({
      pattern: SAFE_URL,
      maxLength: 2048,
      rule: SAFE_URL_RULE,
      description
    })
  )

/** An address that may be a secret, with its query, or unset. */
export const secretUrl = (description: string) =>
  Type.Optional(
    Type.String({
      pattern: SAFE_URL_WITH_QUERY,
      maxLength: 2048,
      secret: true,
      rule: SAFE_URL_RULE,
      description
    })
  )

/** 32 bytes in base64, or several of them with commas between: the text of `ENCRYPTION_KEY`. */
export const KEY_LIST = '^[A-Za-z0-9+/]{43}=(, *[A-Za-z0-9+/]{43}=)*$'

/** A secret of Standard Webhooks has 24 to 64 bytes. */
const WEBHOOK_SECRET = '(whsec_[A-Za-z0-9+/]{32,86}={0,2}|(?!whsec_)[^\\s,]{24,256})'

/** Secrets that sign, or unset. */
export const signingSecrets = (description: string) =>
  Type.Optional(
    Type.String({
      pattern: `^${WEBHOOK_SECRET}(,${WEBHOOK_SECRET}){0,9}$`,
      maxLength: 4096,
      secret: true,
      rule: 'must be `whsec_` and 24 to 64 bytes in base64, or 24 to 256 other characters, or a comma-separated list of such',
      description
    })
  )

/** One of several words. */
export const choice = <T extends string[]>(values: [...T], fallback: T[number], description: string) =>
  Type.Unsafe<T[number]>({ type: 'string', enum: values, default: fallback, description })

/** A number of seconds. */
export const seconds = (fallback: number, minimum: number, maximum: number, description: string) =>
  Type.Integer({ default: fallback, minimum, maximum, description })
