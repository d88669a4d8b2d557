// @FEAT:health-monitoring @COMP:service @TYPE:core
import { MINUTE, SECOND } from '../async/durations.ts'
import { Poller } from '../async/poller.ts'
import type { Database } from '../database/database.ts'
import type { CheckDetails } from '../domain/check-details.ts'
import type { Log } from '../log/log.ts'
import type { Recipients } from '../notifications/outbox.ts'
import type { SchedulerHealth } from '../scheduler/status.ts'
import { type UnhealthyReason, unhealthyReason } from './cluster-state.ts'
import type { HeartbeatEnd } from './heartbeat-request.ts'
import {
  claimMinute,
  type HeartbeatOutcome,
  type LastHeartbeat,
  lastHeartbeat,
  recordHeartbeat
} from './heartbeat-store.ts'

/** The wait of a replica that may not send, and after a failed poll. */
const RETRY_MS = 5 * SECOND
/** Replicas poll at the begin of each minute, so long after it at most. */
const SPREAD_MS = 2 * SECOND
/** Without a heartbeat for longer than this, the cluster sends none. */
const LATE_MS = 3 * MINUTE

export interface HeartbeatOptions {
  database: Database
  log: Log
  /** The name of this replica. */
  instanceId: () => string
  /** Whether this replica may send: it runs scheduled jobs and does not drain, or no replica runs them. */
  maySend: () => boolean
  /** The scheduler as this replica knows it. */
  scheduler: () => SchedulerHealth
  recipients: Recipients
  /** Sends one request. @throws when `signal` is aborted */
  send: (reason: UnhealthyReason | null, signal: AbortSignal) => Promise<HeartbeatEnd>
  /** Called at the end of each request, for metrics. */
  onSent: (end: { state: 'ok' | 'fail'; outcome: HeartbeatOutcome }) => void
  /** Milliseconds since the epoch. Default `Date.now`. */
  now?: () => number
}

/**
 * The dead man's switch: one request in each minute of the database's clock, by one of the replicas that run scheduled
 * jobs. Without the database no replica can claim a minute, and none is sent.
 */
export class Heartbeat {
  readonly #options: HeartbeatOptions
  readonly #now: () => number
  readonly #poller: Poller
  #last: LastHeartbeat | null = null
  #latencyMs: number | null = null
  #startedAtMs: number | undefined
  #logged: HeartbeatOutcome = 'ok'

  constructor(options: HeartbeatOptions) {
    const { log, now = Date.now } = options
    this.#options = options
    this.#now = now
    this.#poller = new Poller({
      poll: signal => this.#poll(signal),
      intervalMs: RETRY_MS,
      log,
      failedMessage: 'heartbeat not claimed',
      recoveredMessage: 'heartbeat claimed again'
    })
  }

  /** Starts to send; call it when the schema exists. Idempotent. */
  start(): void {
    this.#startedAtMs ??= this.#now()
    this.#poller.start()
  }

  /** Polls now. Never rejects. */
  poll(): Promise<void> {
    return this.#poller.kick()
  }

  /** Aborts the request that runs. Idempotent. */
  close(): Promise<void> {
    return this.#poller.stop()
  }

  /** Milliseconds since the last heartbeat of the cluster; undefined before the first. */
  get ageMs(): number | undefined {
    return this.#last === null ? undefined : Math.max(0, this.#now() - this.#last.sentAt.getTime())
  }

  /**
   * Degraded while the receiver does not accept heartbeats, or none is sent; the age is that of the last one of the
   * cluster, the latency that of the last statement.
   */
  details(): CheckDetails {
    const code = this.#code()
    return {
      name: 'heartbeat',
      status: code === null ? 'ok' : 'degraded',
      code,
      latency_ms: this.#latencyMs,
      age_ms: this.ageMs ?? null,
      since: null
    }
  }

  #code(): string | null {
    const silentMs = this.ageMs ?? this.#now() - (this.#startedAtMs ?? this.#now())
    if (silentMs > LATE_MS) return 'late'
    return this.#last === null || this.#last.outcome === 'ok' ? null : this.#last.outcome
  }

  async #poll(signal: AbortSignal): Promise<number> {
    const { database, instanceId, maySend, scheduler, recipients } = this.#options
    const askedMs = performance.now()
    if (!maySend()) {
      this.#last = await lastHeartbeat(database)
      this.#latencyMs = Math.round(performance.now() - askedMs)
      return RETRY_MS
    }
    const { claimed, nextMs, last } = await claimMinute(database, instanceId())
    this.#last = last
    const beganMs = performance.now()
    this.#latencyMs = Math.round(beganMs - askedMs)
    if (claimed) {
      const reason = await unhealthyReason(database, scheduler(), recipients)
      await this.#send(reason, signal)
    }
    return Math.max(0, nextMs - (performance.now() - beganMs)) + Math.random() * SPREAD_MS
  }

  async #send(reason: UnhealthyReason | null, signal: AbortSignal): Promise<void> {
    const { database, send, onSent } = this.#options
    const end = await send(reason, signal)
    onSent({ state: reason === null ? 'ok' : 'fail', outcome: end.outcome })
    this.#log(end)
    this.#last = await recordHeartbeat(database, { reason, outcome: end.outcome })
  }

  #log(end: HeartbeatEnd): void {
    const { log } = this.#options
    if (end.outcome === this.#logged) return
    this.#logged = end.outcome
    if (end.outcome === 'ok') log.info('heartbeat sent again')
    else log.warn(end, 'heartbeat not sent')
  }
}
