import { randomBytes } from 'node:crypto'

/**
 * The headers that @fastify/helmet sets on the answers of the API, for answers that no scope of the API makes.
 * `test/routes/malformed.test.ts` compares them.
 */
const SECURITY_HEADERS = {
  'content-security-policy':
    "default-src 'self';base-uri 'self';font-src 'self' https: data:;form-action 'self';frame-ancestors 'self';img-src 'self' data:;object-src 'none';script-src 'self';script-src-attr 'none';style-src 'self' https: 'unsafe-inline';upgrade-insecure-requests",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'origin-agent-cluster': '?1',
  'referrer-policy': 'no-referrer',
  'strict-transport-security': 'max-age=31536000; includeSubDomains',
  'x-content-type-options': 'nosniff',
  'x-dns-prefetch-control': 'off',
  'x-download-options': 'noopen',
  'x-frame-options': 'SAMEORIGIN',
  'x-permitted-cross-domain-policies': 'none',
  'x-xss-protection': '0'
}

/**
 * The headers of every error, on every port: security, no caching, and the id of the request.
 * @param requestId default a new one, for a request that the log does not have
 */
export function errorHeaders(requestId = nextRequestId()): Record<string, string> {
  return { ...SECURITY_HEADERS, 'cache-control': 'no-store', 'request-id': requestId }
}

/** Returns a function that makes ids that are unique among all processes and threads: a random part, and a counter. */
export function requestIds(): () => string {
  const prefix = randomBytes(6).toString('base64url')
  let count = 0
  return () => `${prefix}-${(++count).toString(36)}`
}

const nextRequestId = requestIds()
