// @FEAT:trading @COMP:job @TYPE:helper
import { DAY } from '../async/durations.ts'
import type { Millis } from '../domain/millis.ts'
import type { CallOptions, ExchangeClient } from '../exchanges/exchange-client.ts'
import type { OpenOrdersSeen } from '../trading/old-orders.ts'

/** Orders of this age are recorded while they are open. Lists of closed orders reach back to the creation of younger ones. */
const OLD_MS = 20 * DAY

/** Reads which old orders are open. */
export async function listOldOrders(
  client: ExchangeClient,
  at: Millis,
  options: CallOptions
): Promise<Omit<OpenOrdersSeen, 'readUntil'>> {
  let isWhole = true
  const onInvalidRow = () => {
    isWhole = false
  }
  const listed = await client.openOrders({ ...options, onInvalidRow })
  const old = listed.filter(({ createdAt }) => createdAt === null || createdAt < at - OLD_MS)
  return { open: new Set(old.map(({ exchangeOrderId }) => exchangeOrderId)), isWhole, at }
}
