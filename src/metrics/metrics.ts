import { withDeadline } from '../async/deadline.ts'
import type { Log } from '../log/log.ts'
import { type Definition, definitions, type Labels, type MetricName, type NameOf } from './definitions.ts'

/** The deadline of a collector, in milliseconds: less than a scraper waits. */
const COLLECT_DEADLINE_MS = 2_000

/** One series: its labels with a value, or with the distribution of a histogram. */
export type Point = { labels: Record<string, string> } & ({ value: number } | Distribution)

/** The counts of a histogram by bucket, the last one unbounded, and the sum of the values. */
export interface Distribution {
  counts: number[]
  sum: number
}

/** The series of all metrics, at one moment. */
export type MetricSeries = ReadonlyMap<MetricName, readonly Point[]>

/** One reading of all metrics, to which a collector adds series. */
export interface Reading {
  /** Adds the current value of a gauge, or of a counter that another object counts. Other than finite numbers are left out. */
  set<N extends NameOf<'gauge' | 'counter'>>(name: N, labels: Labels<N>, value: number): void
  /** Adds a histogram that another object counts. */
  distribute<N extends NameOf<'histogram'>>(name: N, labels: Labels<N>, distribution: Distribution): void
}

/** Adds series to a reading. It must be quick and without side effects; when it fails, its series are missing. */
type Collector = (reading: Reading) => void | Promise<void>

/**
 * The metrics of this process. Events are counted when they happen; states are read by collectors at each reading. This
 * class is independent of the format and the server of the metrics.
 */
export class Metrics {
  readonly #log: Log
  readonly #series = new Map<MetricName, Map<string, Point>>()
  readonly #collectors: Collector[] = []
  #reading: Promise<MetricSeries> | undefined

  constructor({ log }: { log: Log }) {
    this.#log = log
    this.count('trading_health_collector_failures_total', {}, 0)
  }

  /** Adds to a counter. `by` 0 creates the series, so that Prometheus sees the increase of the first event. */
  count<N extends NameOf<'counter'>>(name: N, labels: Labels<N>, by = 1): void {
    const point = this.#point(name, labels)
    if ('value' in point) point.value += by
  }

  /** Adds one value to a histogram; durations in seconds. */
  observe<N extends NameOf<'histogram'>>(name: N, labels: Labels<N>, value: number): void {
    const point = this.#point(name, labels)
    if ('value' in point) return
    const bucket = definitions[name].buckets.findIndex(bound => value <= bound)
    const index = bucket === -1 ? point.counts.length - 1 : bucket
    point.counts[index] = (point.counts[index] ?? 0) + 1
    point.sum += value
  }

  /** Adds a collector, which is called at each reading. */
  collect(collector: Collector): void {
    this.#collectors.push(collector)
  }

  /** Reads all metrics; concurrent calls share one reading. Takes 2 s at most. Never rejects. */
  read(): Promise<MetricSeries> {
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined
    })
    return this.#reading
  }

  async #read(): Promise<MetricSeries> {
    const collected = await Promise.all(this.#collectors.map(collector => this.#collect(collector)))
    const metrics = new Map<MetricName, Point[]>()
    for (const [name, series] of this.#series) metrics.set(name, [...series.values()])
    for (const [name, point] of collected.flat()) metrics.set(name, [...(metrics.get(name) ?? []), point])
    return metrics
  }

  async #collect(collector: Collector): Promise<[MetricName, Point][]> {
    const points: [MetricName, Point][] = []
    const reading: Reading = {
      set: (name, labels, value) => {
        if (Number.isFinite(value)) points.push([name, { labels, value }])
      },
      distribute: (name, labels, distribution) => void points.push([name, { labels, ...distribution }])
    }
    try {
      await withDeadline(Promise.resolve(collector(reading)), COLLECT_DEADLINE_MS)
      return points
    } catch (err) {
      this.count('trading_health_collector_failures_total', {})
      this.#log.warn({ err }, 'metrics not collected')
      return []
    }
  }

  #point(name: MetricName, labels: Record<string, string>): Point {
    const series = this.#series.get(name) ?? new Map<string, Point>()
    this.#series.set(name, series)
    const { buckets, labels: names }: Definition = definitions[name]
    const key = names.map(label => labels[label]).join('\n')
    const known = series.get(key)
    if (known) return known
    const initial = buckets ? { counts: Array<number>(buckets.length + 1).fill(0), sum: 0 } : { value: 0 }
    const point = { labels, ...initial }
    series.set(key, point)
    return point
  }
}
