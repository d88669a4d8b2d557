import { withDeadline } from '../async/deadline.ts'
import type { Log } from '../log/log.ts'
import { type Definition, definitions, type Labels, type MetricName, type NameOf } from './definitions.ts'

/** How long one collector may take, in milliseconds: less than a scraper waits. */
const COLLECT_DEADLINE_MS = 2_000

/** The figure of one series. Of a histogram: how many fell into each bucket, the last one unbounded, and their sum. */
export type Point = { labels: Record<string, string> } & ({ value: number } | Distribution)

export interface Distribution {
  counts: number[]
  sum: number
}

/** All metrics with their series, at one moment. */
export type Figures = ReadonlyMap<MetricName, readonly Point[]>

/** What a collector tells its figures to. */
export interface Reading {
  /** A gauge as it is now, or a counter that is kept elsewhere. What is not a finite number is not known, and not told. */
  set<N extends NameOf<'gauge' | 'counter'>>(name: N, labels: Labels<N>, value: number): void
  /** A histogram that is kept elsewhere. */
  distribute<N extends NameOf<'histogram'>>(name: N, labels: Labels<N>, distribution: Distribution): void
}

export type Collector = (reading: Reading) => void | Promise<void>

/**
 * The figures of this process. Events are counted in plain objects when they happen; whatever has a state of its own is
 * read by a collector when it is asked for. Nothing here knows who reads the figures, or in what format.
 */
export class Metrics {
  readonly #log: Log
  readonly #series = new Map<MetricName, Map<string, Point>>()
  readonly #collectors: Collector[] = []
  #reading: Promise<Figures> | undefined

  constructor({ log }: { log: Log }) {
    this.#log = log
    this.count('trading_health_collector_failures_total', {}, 0)
  }

  /** Adds to a total. With 0 the series is there from the start, so that its first event is seen as one. */
  count<N extends NameOf<'counter'>>(name: N, labels: Labels<N>, by = 1): void {
    const point = this.#point(name, labels)
    if ('value' in point) point.value += by
  }

  /** Puts one value into a histogram: durations in seconds. */
  observe<N extends NameOf<'histogram'>>(name: N, labels: Labels<N>, value: number): void {
    const point = this.#point(name, labels)
    if ('value' in point) return
    const bucket = definitions[name].buckets.findIndex(bound => value <= bound)
    const index = bucket === -1 ? point.counts.length - 1 : bucket
    point.counts[index] = (point.counts[index] ?? 0) + 1
    point.sum += value
  }

  /** Has `collector` asked at each reading. It is to be quick and without side effects; a failure costs its figures. */
  collect(collector: Collector): void {
    this.#collectors.push(collector)
  }

  /** The figures now; all that ask at once share one reading. Settles in bounded time, never rejects. */
  read(): Promise<Figures> {
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined
    })
    return this.#reading
  }

  async #read(): Promise<Figures> {
    const collected = await Promise.all(this.#collectors.map(collector => this.#ask(collector)))
    const figures = new Map<MetricName, Point[]>()
    for (const [name, series] of this.#series) figures.set(name, [...series.values()])
    for (const [name, point] of collected.flat()) figures.set(name, [...(figures.get(name) ?? []), point])
    return figures
  }

  async #ask(collector: Collector): Promise<[MetricName, Point][]> {
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
    const figure = buckets ? { counts: Array<number>(buckets.length + 1).fill(0), sum: 0 } : { value: 0 }
    const point = { labels, ...figure }
    series.set(key, point)
    return point
  }
}
