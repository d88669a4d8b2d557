// @FEAT:trading @COMP:service @TYPE:helper
import { FILLS_PER_TRANSACTION } from './order-portions.ts'
import type { AnsweredOrder } from './order-store.ts'

/** Orders per transaction; bounds its duration. */
const ORDERS_PER_TRANSACTION = 100

/** Portions of orders for one transaction each. An order with more fills than fit is a portion of its own, which takes several transactions. */
export function recordPortions(seen: readonly AnsweredOrder[]): AnsweredOrder[][] {
  const portions: AnsweredOrder[][] = []
  let fills = 0
  for (const one of seen) {
    const { answer } = one
    const own = answer.kind === 'missing' ? 0 : (answer.fills?.length ?? 0)
    const last = portions.at(-1)
    if (last === undefined || last.length >= ORDERS_PER_TRANSACTION || fills + own > FILLS_PER_TRANSACTION) {
      portions.push([one])
      fills = own
    } else {
      last.push(one)
      fills += own
    }
  }
  return portions
}
