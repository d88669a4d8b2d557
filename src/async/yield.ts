import { setImmediate } from 'node:timers/promises'

/** Lets the event loop process pending events, such as probes, before long synchronous work continues. */
export function yieldToEventLoop(): Promise<void> {
  return setImmediate()
}
