import { setImmediate } from 'node:timers'
import type { Timers } from '../../src/async/timers.ts'

export interface SkippingTimers extends Timers {
  /** Lengths of the waits so far, in milliseconds. */
  waits: number[]
  /** Lengths of the deadlines so far, in milliseconds. */
  deadlines: number[]
  /** Ends every deadline that was not cancelled. */
  expire(): void
}

/**
 * Timers whose waits end at once: the clock advances by the length of each. A deadline ends only when a test calls
 * `expire`.
 */
export function skippingTimers(): SkippingTimers {
  let clock = 0
  const waits: number[] = []
  const deadlines: number[] = []
  const underWay = new Set<() => void>()
  return {
    waits,
    deadlines,
    now: () => clock,
    deadline(ms, callback) {
      deadlines.push(ms)
      underWay.add(callback)
      return () => underWay.delete(callback)
    },
    expire() {
      for (const callback of [...underWay]) callback()
      underWay.clear()
    },
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

/** Timers that only `advance` moves. */
export function manualTimers(): Timers & { advance(ms: number): void; pending(): number } {
  let clock = 0
  const due = new Map<symbol, { at: number; callback: () => void }>()
  const after = (ms: number, callback: () => void) => {
    const id = Symbol('timer')
    due.set(id, { at: clock + ms, callback })
    return () => due.delete(id)
  }
  return {
    now: () => clock,
    pending: () => due.size,
    after,
    deadline: after,
    advance(ms) {
      const end = clock + ms
      for (;;) {
        let next: symbol | undefined
        let earliest = end
        for (const [id, { at }] of due) {
          if (at > earliest || (at === earliest && next !== undefined)) continue
          next = id
          earliest = at
        }
        const timer = next && due.get(next)
        if (next === undefined || timer === undefined) break
        due.delete(next)
        clock = Math.max(clock, timer.at)
        timer.callback()
      }
      clock = end
    }
  }
}
