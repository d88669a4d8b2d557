/** A metric: its kind, its help text, and the labels of each series. */
export interface Definition {
  kind: 'counter' | 'gauge' | 'histogram'
  help: string
  /** Their values are from closed lists: never a symbol, a user, an id or another value that a client chooses. */
  labels: readonly string[]
  /** Upper bounds of a histogram's buckets, ascending. */
  buckets?: readonly number[]
}

/** Buckets of the duration of a probe's answer, in seconds: up to the second within which each must be answered. */
export const PROBE_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1] as const

const REQUEST_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
const CALL_BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
const RUN_BUCKETS = [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 120, 300]
const DELAY_BUCKETS = [0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 60, 300]

/**
 * Every metric of the service, by its name. Durations are in seconds, totals only increase. A new metric is a row here
 * and a call of `count`, `observe` or `collect` where its value is known.
 */
export const definitions = {
  trading_health_build_info: gauge(
    'Always 1; its labels are the versions of the service and of Node.js',
    'version',
    'node_version'
  ),

  trading_health_started: gauge('1 once migrations and warm-up are done'),
  trading_health_ready: gauge('1 while this replica is ready, as /health/ready reports'),
  trading_health_draining: gauge('1 while this replica drains'),
  trading_health_check_state: gauge('1 for the current state of a check, 0 for the others', 'check', 'state'),
  trading_health_check_latency_seconds: gauge('Duration of the last check', 'check'),
  trading_health_check_age_seconds: gauge('Age of the last result of a check', 'check'),
  trading_health_probe_duration_seconds: histogram(
    'Time from a probe request to its answer, by port (main or probe)',
    PROBE_BUCKETS,
    'port',
    'route',
    'code'
  ),
  trading_health_probe_thread_restarts_total: counter('How often the probe thread was started again'),

  trading_health_event_loop_delay_seconds: gauge('Mean delay of the main event loop over the last half second'),
  trading_health_event_loop_utilization_ratio: gauge('Share of the time for which the main event loop was busy'),
  trading_health_overloaded: gauge('1 while the API sheds load'),
  trading_health_http_request_duration_seconds: histogram(
    'Requests of the API by route pattern, or `unmatched`, and class of status',
    REQUEST_BUCKETS,
    'route',
    'status_class'
  ),
  trading_health_open_connections: gauge('Open connections by port: main, probe or metrics', 'port'),
  trading_health_max_connections: gauge('Connections that each port may have'),
  trading_health_closed_connections_total: counter(
    'Connections that a port closed: evicted in favour of a new one, refused as all were in use, unread answer',
    'port',
    'reason'
  ),
  trading_health_sign_ins_total: counter('Sign-in attempts', 'outcome'),

  trading_health_database_pool_max: gauge('Connections that the main pool may have'),
  trading_health_database_pool_connections: gauge('Connections that the main pool has'),
  trading_health_database_calls_in_flight: gauge('Calls that use or wait for a connection of the main pool'),
  trading_health_database_calls_total: counter('Calls on the main pool that ended', 'outcome'),
  trading_health_database_pool_replacements_total: counter(
    'How often the main pool was replaced because it was unresponsive'
  ),

  trading_health_scheduler_running: gauge('1 while the scheduler of the cluster runs, 0 while an admin has stopped it'),
  trading_health_job_runners: gauge('Replicas that may run scheduled jobs'),
  trading_health_job_runs_total: counter('Runs on this replica that ended', 'job_id', 'outcome'),
  trading_health_job_run_duration_seconds: histogram('Time from claim to recorded end of a run', RUN_BUCKETS, 'job_id'),
  trading_health_job_start_delay_seconds: histogram(
    'Time from the due time of a run to its start',
    DELAY_BUCKETS,
    'job_id'
  ),
  trading_health_job_lease_losses_total: counter('Runs whose runner lost its lease', 'job_id'),
  trading_health_job_overdue: gauge('1 while a run of the job should have ended by now', 'job_id'),

  trading_health_exchange_calls_total: counter(
    'Calls to exchanges; the retries of a call are not counted',
    'exchange',
    'outcome'
  ),
  trading_health_exchange_call_duration_seconds: histogram(
    'Duration of a call with its waits and retries',
    CALL_BUCKETS,
    'exchange'
  ),
  trading_health_exchange_circuit_open: gauge('1 while an exchange is not called because it failed', 'exchange'),
  trading_health_exchange_last_success_timestamp_seconds: gauge(
    'Time of the last successful answer of an exchange',
    'exchange'
  ),
  trading_health_exchange_invalid_rows: gauge(
    'Rows in the latest readings that cannot be read or contradict themselves',
    'exchange'
  ),
  trading_health_exchange_invalid_rows_total: counter(
    'Rows that cannot be read or contradict themselves; an unreadable answer counts as one',
    'exchange',
    'operation',
    'kind'
  ),
  trading_health_exchange_clock_skew_seconds: gauge("An exchange's clock minus ours", 'exchange'),
  trading_health_exchange_limit_used_ratio: gauge(
    'The fullest limit of our address: what is used of it now, of what the exchange states',
    'exchange'
  ),
  trading_health_exchange_need_ratio: gauge(
    'What the accounts need of a limit of our address, of what the exchange states; above 0.9 jobs take longer',
    'exchange'
  ),
  trading_health_exchange_period_seconds: gauge('Period of a job that the limits allow', 'exchange', 'read'),
  trading_health_exchange_wait_seconds: gauge(
    'Wait of the account that was not read for the longest time',
    'exchange',
    'read'
  ),
  trading_health_telegram_calls_total: counter(
    'Calls to Telegram; the retries of a call are not counted',
    'method',
    'outcome'
  ),
  trading_health_telegram_call_duration_seconds: histogram(
    'Duration of a call with its waits and retries',
    CALL_BUCKETS,
    'method'
  ),
  trading_health_telegram_commands_total: counter(
    'Telegram commands and pressed buttons of known chats; a change is requested, then decided',
    'command',
    'outcome'
  ),

  trading_health_heartbeats_total: counter(
    "Requests to the dead man's switch: whether they reported a healthy cluster (ok, fail), and how they ended",
    'state',
    'outcome'
  ),
  trading_health_heartbeat_age_seconds: gauge("Time since the last request of the cluster to the dead man's switch"),
  trading_health_webhook_calls_total: counter('Requests to the webhook of alerts', 'outcome'),
  trading_health_webhook_call_duration_seconds: histogram('Duration of a request to the webhook', CALL_BUCKETS),

  trading_health_cached_prices: gauge('Current prices in the cache', 'exchange', 'market_type'),
  trading_health_cached_price_age_seconds: gauge('Age of the oldest current price', 'exchange', 'market_type'),
  trading_health_price_lookups_total: counter('Look-ups of cached prices', 'exchange', 'market_type', 'outcome'),
  trading_health_frozen_prices: gauge('Symbols whose price does not change while their market changes'),
  trading_health_cached_clients: gauge('Exchange clients in the cache that have not expired'),

  trading_health_outbox_waiting: gauge('Messages of the cluster that wait to be sent', 'destination'),
  trading_health_outbox_oldest_age_seconds: gauge('Age of the oldest message that waits', 'destination'),
  trading_health_outbox_given_up: gauge('Messages given up within the last day', 'destination'),

  trading_health_book_differences: gauge('Unexplained differences between our books and the exchanges, in the cluster'),
  trading_health_book_difference_oldest_age_seconds: gauge('Age of the oldest unexplained difference; 0 without any'),

  trading_health_collector_failures_total: counter('Readings that lack metrics because a collector failed')
} as const satisfies Record<string, Definition>

type Definitions = typeof definitions

/** The name of a metric. */
export type MetricName = keyof Definitions
/** The names of the metrics of a kind. */
export type NameOf<K extends Definition['kind']> = {
  [N in MetricName]: Definitions[N]['kind'] extends K ? N : never
}[MetricName]
/** The labels of a metric, each with its value. */
export type Labels<N extends MetricName> = Readonly<Record<Definitions[N]['labels'][number], string>>

function counter<const L extends string[]>(help: string, ...labels: L) {
  return { kind: 'counter', help, labels } as const
}

function gauge<const L extends string[]>(help: string, ...labels: L) {
  return { kind: 'gauge', help, labels } as const
}

function histogram<const L extends string[]>(help: string, buckets: readonly number[], ...labels: L) {
  return { kind: 'histogram', help, labels, buckets } as const
}
