import { PROBE_BUCKETS } from '../metrics/definitions.ts'
import type { Distribution } from '../metrics/metrics.ts'
import { type ProbePath, probes } from './probes.ts'

/** The server that answered: that of the main thread, or that of the probe thread. */
export type ProbePort = 'main' | 'probe'

/** One series: the durations of the answers of a port and route with a status. */
export interface ProbeSeries extends Distribution {
  port: ProbePort
  route: ProbePath
  code: 200 | 503
}

const PORTS: readonly ProbePort[] = ['main', 'probe']
const ROUTES = Object.keys(probes) as ProbePath[]
const CODES = [200, 503] as const
/** One slot per bucket, one for the unbounded bucket, and one for the sum in seconds. */
const SLOTS = PROBE_BUCKETS.length + 2
const SUM = SLOTS - 1

/**
 * Histograms of the probes' durations, in memory that both threads share. The part of each port has one writer, the
 * thread of that port, so no operation has to be atomic: a reader may get values that are a moment old.
 */
export class ProbeDurations {
  readonly buffer: SharedArrayBuffer
  readonly #slots: Float64Array

  /** @param buffer the one of the other thread; without it, a new one is allocated */
  constructor(
    buffer = new SharedArrayBuffer(PORTS.length * ROUTES.length * CODES.length * SLOTS * Float64Array.BYTES_PER_ELEMENT)
  ) {
    this.buffer = buffer
    this.#slots = new Float64Array(buffer)
  }

  /** Returns the function that records one answer of a port: its route, status and duration. */
  recorder(port: ProbePort): (route: ProbePath, code: 200 | 503, durationMs: number) => void {
    const slots = this.#slots
    const offsets = new Map(ROUTES.map(route => [route, offsetOf(port, route)]))
    return (route, code, durationMs) => {
      const offset = (offsets.get(route) ?? 0) + (code === 200 ? 0 : SLOTS)
      const seconds = durationMs / 1_000
      let bucket = 0
      while (bucket < PROBE_BUCKETS.length && seconds > (PROBE_BUCKETS[bucket] ?? 0)) bucket++
      slots[offset + bucket] = (slots[offset + bucket] ?? 0) + 1
      slots[offset + SUM] = (slots[offset + SUM] ?? 0) + seconds
    }
  }

  /** All series, including those without an answer. */
  series(): ProbeSeries[] {
    return PORTS.flatMap(port =>
      ROUTES.flatMap(route =>
        CODES.map((code, i) => {
          const offset = offsetOf(port, route) + i * SLOTS
          const counts = [...this.#slots.subarray(offset, offset + SUM)]
          return { port, route, code, counts, sum: this.#slots[offset + SUM] ?? 0 }
        })
      )
    )
  }
}

function offsetOf(port: ProbePort, route: ProbePath): number {
  return (PORTS.indexOf(port) * ROUTES.length + ROUTES.indexOf(route)) * CODES.length * SLOTS
}
