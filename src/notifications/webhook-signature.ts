// @FEAT:health-monitoring @COMP:service @TYPE:integration
import { createHash, createHmac } from 'node:crypto'

const PREFIX = 'whsec_'

/** The headers of Standard Webhooks (https://www.standardwebhooks.com), one signature for each secret. */
export interface SignedRequest {
  /** Identifies the message: the same in every attempt. */
  id: string
  /** The time of this attempt, in seconds since the epoch. */
  timestamp: number
  body: string
}

/**
 * The headers that identify and sign a request. Without a secret there is no signature.
 * @param secrets `whsec_` and base64, or any text, whose bytes are the key; several, with commas between, each sign
 */
export function webhookHeaders({ id, timestamp, body }: SignedRequest, secrets: string | undefined) {
  const signatures = (secrets ?? '')
    .split(',')
    .filter(secret => secret !== '')
    .map(secret => `v1,${createHmac('sha256', keyOf(secret)).update(`${id}.${timestamp}.${body}`).digest('base64')}`)
  return {
    'webhook-id': id,
    'webhook-timestamp': String(timestamp),
    ...(signatures.length > 0 && { 'webhook-signature': signatures.join(' ') })
  }
}

/** The id of a message from its key in the outbox. It contains no full stop, which separates the signed parts. */
export function webhookId(key: string): string {
  return `msg_${createHash('sha256').update(key).digest('hex').slice(0, 32)}`
}

function keyOf(secret: string): Buffer {
  return secret.startsWith(PREFIX) ? Buffer.from(secret.slice(PREFIX.length), 'base64') : Buffer.from(secret)
}
