import { PROBE_BUCKETS } from '../metrics/definitions.ts'
import type { Distribution } from '../metrics/metrics.ts'
import { type ProbePath, probes } from './probes.ts'

/** Which server answered: that of the main thread, or that of the probe thread. */
export type ProbePort = 'main' | 'probe'

/** One series: how long the answers of a route with a code took. */
export interface ProbeSeries extends Distribution {
  port: ProbePort
  route: ProbePath
  code: 200 | 503
}

const PORTS: readonly ProbePort[] = ['main', 'probe']
const ROUTES = Object.keys(probes) as ProbePath[]
const CODES = [200, 503] as const
/** A slot per bucket, the unbounded one, and the sum in seconds. */
const SLOTS = PROBE_BUCKETS.length + 2
const SUM = SLOTS - 1

/**
 * Counts the probes' answers in memory that both threads share. Each port's part has one writer, its own thread, so
 * nothing of it needs to be atomic: a reader sees every figure as it was a moment ago.
 */
export class ProbeTally {
  readonly buffer: SharedArrayBuffer
  readonly #figures: Float64Array

  /** @param buffer that of another thread's tally; a fresh one is made without it */
  constructor(
    buffer = new SharedArrayBuffer(PORTS.length * ROUTES.length * CODES.length * SLOTS * Float64Array.BYTES_PER_ELEMENT)
  ) {
    this.buffer = buffer
    this.#figures = new Float64Array(buffer)
  }

  /** Makes the function that counts one answer of a port: its route, status and time in milliseconds. */
  counter(port: ProbePort): (route: ProbePath, code: 200 | 503, ms: number) => void {
    const figures = this.#figures
    const offsets = new Map(ROUTES.map(route => [route, offsetOf(port, route)]))
    return (route, code, ms) => {
      const offset = (offsets.get(route) ?? 0) + (code === 200 ? 0 : SLOTS)
      const seconds = ms / 1_000
      let bucket = 0
      while (bucket < PROBE_BUCKETS.length && seconds > (PROBE_BUCKETS[bucket] ?? 0)) bucket++
      figures[offset + bucket] = (figures[offset + bucket] ?? 0) + 1
      figures[offset + SUM] = (figures[offset + SUM] ?? 0) + seconds
    }
  }

  /** All series, those without an answer included. */
  series(): ProbeSeries[] {
    return PORTS.flatMap(port =>
      ROUTES.flatMap(route =>
        CODES.map((code, i) => {
          const offset = offsetOf(port, route) + i * SLOTS
          const counts = [...this.#figures.subarray(offset, offset + SUM)]
          return { port, route, code, counts, sum: this.#figures[offset + SUM] ?? 0 }
        })
      )
    )
  }
}

function offsetOf(port: ProbePort, route: ProbePath): number {
  return (PORTS.indexOf(port) * ROUTES.length + ROUTES.indexOf(route)) * CODES.length * SLOTS
}
