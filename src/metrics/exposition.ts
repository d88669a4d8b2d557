// Loaded with the first scrape: prom-client needs 5 MB and a tenth of the start-up time.
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import { type Definition, definitions, type MetricName } from './definitions.ts'
import type { MetricSeries, Point } from './metrics.ts'

/** The content type of the text format. */
export const CONTENT_TYPE = Registry.PROMETHEUS_CONTENT_TYPE

/** The metrics of the Node.js process: memory, CPU time, garbage collections, descriptors. */
const runtime = new Registry()
collectDefaultMetrics({ register: runtime })
// Gauges that the library names totals: `promtool check metrics` rejects them.
for (const kind of ['handles', 'requests', 'resources']) runtime.removeSingleMetric(`nodejs_active_${kind}_total`)

/** Returns the metrics and those of the process in the text format of Prometheus, also the metrics without a series. */
export async function expose(metrics: MetricSeries): Promise<string> {
  const registry = new Registry()
  for (const name of Object.keys(definitions) as MetricName[]) fill(registry, name, metrics.get(name) ?? [])
  return `${await registry.metrics()}\n${await runtime.metrics()}`
}

function fill(registry: Registry, name: MetricName, points: readonly Point[]): void {
  const { kind, help, labels, buckets = [] }: Definition = definitions[name]
  const configuration = { name, help, labelNames: [...labels], registers: [registry] }
  if (kind === 'histogram') {
    new FilledHistogram({ ...configuration, buckets: [...buckets] }, points)
    return
  }
  const metric = kind === 'counter' ? new Counter(configuration) : new Gauge(configuration)
  for (const point of points) {
    if ('value' in point) metric.inc(point.labels, point.value)
  }
}

/** A histogram with given counts: the one of the library can only observe values. */
class FilledHistogram extends Histogram {
  readonly #text: ReturnType<FilledHistogram['getForPromString']>

  constructor(configuration: ConstructorParameters<typeof Histogram>[0], points: readonly Point[]) {
    super(configuration)
    const { name, help, buckets = [] } = configuration
    const values = points.flatMap(point => ('value' in point ? [] : seriesOf(name, buckets, point)))
    this.#text = Promise.resolve({ name, help, type: 'histogram', values })
  }

  /** The registry calls this method of each metric. */
  getForPromString(): Promise<{ name: string; help: string; type: string; values: Sample[] }> {
    return this.#text
  }
}

interface Sample {
  metricName: string
  labels: Record<string, string | number>
  value: number
}

function seriesOf(name: string, buckets: readonly number[], point: Exclude<Point, { value: number }>): Sample[] {
  const { labels, counts, sum } = point
  let count = 0
  const cumulative = [...buckets, '+Inf'].map((le, i) => {
    count += counts[i] ?? 0
    return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: count }
  })
  return [
    ...cumulative,
    { metricName: `${name}_sum`, labels, value: sum },
    { metricName: `${name}_count`, labels, value: count }
  ]
}
