import { setImmediate } from 'node:timers'
import type { Timers } from '../../src/async/timers.ts'

/** Timers of which each wait is over at once: the clock jumps by its length. `waits` holds the lengths. */
export function skippingTimers(): Timers & { waits: number[] } {
  let clock = 0
  const waits: number[] = []
  return {
    waits,
    now: () => clock,
    after(ms, callback) {
      waits.push(ms)
      const due = clock + ms
      const immediate = setImmediate(() => {
        clock = Math.max(clock, due)
        callback()
      })
      return () => clearImmediate(immediate)
    }
  }
}

/** Timers that stand still until `advance`. */
export function manualTimers(): Timers & { advance(ms: number): void; pending(): number } {
  let clock = 0
  const due = new Map<symbol, { at: number; callback: () => void }>()
  return {
    now: () => clock,
    pending: () => due.size,
    after(ms, callback) {
      const id = Symbol('timer')
      due.set(id, { at: clock + ms, callback })
      return () => due.delete(id)
    },
    advance(ms) {
      const end = clock + ms
      for (;;) {
        const next = [...due].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0]
        if (next === undefined) break
        const [id, { at, callback }] = next
        due.delete(id)
        clock = Math.max(clock, at)
        callback()
      }
      clock = end
    }
  }
}
