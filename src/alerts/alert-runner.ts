// @FEAT:health-monitoring @COMP:service @TYPE:core
import { SECOND } from '../async/durations.ts'
import { Poller } from '../async/poller.ts'
import type { TransactionSql } from '../database/client.ts'
import type { Database } from '../database/database.ts'
import { DatabaseUnavailableError } from '../database/failure.ts'
import type { Log } from '../log/log.ts'
import type { Destination, EventMessage, Message, Outbox } from '../notifications/outbox.ts'
import { quietWindowLeftMs } from '../notifications/quiet-window.ts'
import { oldestReplica } from '../replicas/replica-table.ts'
import { loadAlerts } from './alert-store.ts'
import { AlertBook, type Notice, type Observation } from './alerts.ts'
import { type ClusterEvaluationOptions, evaluateCluster } from './cluster-evaluation.ts'
import { noticeMessage } from './notice-message.ts'
import { quietSummary } from './quiet-summary.ts'

const EVALUATION_INTERVAL_MS = 10 * SECOND
const READINESS_INTERVAL_MS = SECOND
/** After an outage of the database, every replica that is alive has sent a heartbeat within this time. */
const HEARTBEATS_RESUMED_MS = 20 * SECOND
/** A process that freezes in a transaction holds the lock of all replicas: the server ends the transaction. */
const IDLE_TRANSACTION_MS = 5 * SECOND
const MAX_UNSENT = 20
/** One evaluation has about fifteen network round trips to the database. */
const EVALUATION_DEADLINE_MS = 8 * SECOND

export interface AlertRunnerOptions extends ClusterEvaluationOptions {
  database: Database
  outbox: Outbox
  log: Log
  /** The name of this replica. */
  instanceId: () => string
  /** Why this replica is not ready; null while it is ready, starts or drains. Never rejects. */
  notReady: () => Promise<string | null>
  /**
   * Sends a message without the outbox, which is in the database that may be unavailable. The destinations do not wait
   * for each other.
   */
  sendDirectly: Readonly<Partial<Record<Destination, (message: EventMessage) => Promise<unknown>>>>
  /** Milliseconds since the epoch. Default `Date.now`. */
  now?: () => number
}

/**
 * Evaluates alerts and writes each message once, whichever replica evaluates. Conditions of the cluster are stored in the
 * database and evaluated by one replica at a time. Each replica reports its own readiness. While the database is
 * unavailable, the oldest replica reports that for all replicas, directly to Telegram.
 */
export class AlertRunner {
  readonly #options: AlertRunnerOptions
  readonly #now: () => number
  readonly #readiness: AlertBook
  readonly #evaluations: Poller
  readonly #readinessChecks: Poller
  #unsent: Notice[] = []
  /** The destinations that got a notice without the outbox. */
  readonly #sent = new WeakMap<Notice, Set<Destination>>()
  #isOldest = true
  /** The end of the quiet window when the database was last read, on the clock of this replica. */
  #quietUntilMs = 0
  #startedAtMs: number | undefined
  /** Since when every evaluation succeeded. */
  #reachableSinceMs: number | undefined

  constructor(options: AlertRunnerOptions) {
    const { now = Date.now, rules, log } = options
    this.#options = options
    this.#now = now
    this.#readiness = new AlertBook({ now, ...(rules && { rules }) })
    this.#evaluations = new Poller({
      poll: () => this.#evaluate(),
      intervalMs: EVALUATION_INTERVAL_MS,
      log,
      failedMessage: 'alerts not evaluated',
      recoveredMessage: 'alerts evaluated again'
    })
    this.#readinessChecks = new Poller({
      poll: () => this.#checkReadiness(),
      intervalMs: READINESS_INTERVAL_MS,
      log,
      failedMessage: 'readiness not evaluated',
      recoveredMessage: 'readiness evaluated again'
    })
  }

  /** Starts the evaluations; call it when the replica has started. Idempotent. */
  start(): void {
    this.#startedAtMs ??= this.#now()
    this.#evaluations.start(EVALUATION_INTERVAL_MS)
    this.#readinessChecks.start(READINESS_INTERVAL_MS)
  }

  /** Ends the evaluations and waits for those that run. Idempotent. */
  async close(): Promise<void> {
    await Promise.all([this.#evaluations.stop(), this.#readinessChecks.stop()])
  }

  /** Evaluates the readiness of this replica now. Never rejects. */
  checkReadiness(): Promise<void> {
    return this.#readinessChecks.kick()
  }

  /** Evaluates the alerts of the cluster now, and writes or sends the messages that are due. Never rejects. */
  evaluate(): Promise<void> {
    return this.#evaluations.kick()
  }

  async #checkReadiness(): Promise<undefined> {
    const { notReady } = this.#options
    const instance = this.#options.instanceId()
    const error = await notReady()
    const key = `readiness:${instance}`
    const observation: Observation =
      error === null ? { key, failing: false } : { key, failing: true, details: { kind: 'readiness', instance, error } }
    const notices = this.#readiness
      .observe(observation)
      .filter(({ details }) => this.#isOldest || !isAboutDatabase(details))
    if (notices.length === 0) return
    this.#unsent = [...this.#unsent, ...notices].slice(-MAX_UNSENT)
    await this.evaluate()
  }

  async #evaluate(): Promise<undefined> {
    const own = this.#unsent
    try {
      await this.#options.database.transaction(tx => this.#enqueueDue(tx, own), { deadlineMs: EVALUATION_DEADLINE_MS })
    } catch (err) {
      this.#reachableSinceMs = undefined
      if (!(err instanceof DatabaseUnavailableError)) throw err
      await this.#sendUnsent()
      return
    }
    this.#unsent = this.#unsent.filter(notice => !own.includes(notice))
    this.#reachableSinceMs ??= this.#now()
  }

  async #enqueueDue(tx: TransactionSql, own: readonly Notice[]): Promise<void> {
    // Sent together, the statements cost one network round trip. A statement with parameters costs two and is not sent
    // together with the next one, so constants are written into the text.
    const [, oldest, [lock], quietLeftMs] = await Promise.all([
      tx.unsafe(`set local idle_in_transaction_session_timeout = ${IDLE_TRANSACTION_MS}`).execute(),
      oldestReplica(tx),
      tx<{ held: boolean }[]>`select pg_try_advisory_xact_lock(hashtext('alerts')) as held`,
      quietWindowLeftMs(tx)
    ])
    this.#quietUntilMs = quietLeftMs === undefined ? 0 : this.#now() + quietLeftMs
    this.#isOldest = oldest === undefined || oldest === this.#options.instanceId()
    const ofCluster = lock?.held ? await this.#clusterMessages(tx) : []
    const summary = lock?.held && quietLeftMs === 0 ? await this.#quietSummary(tx) : []
    // Last: the outbox comes after replicas and alerts in LOCK_ORDER.
    await this.#options.outbox.enqueue(tx, [...own.map(notice => this.#restOf(notice)), ...ofCluster, ...summary])
  }

  #clusterMessages(tx: TransactionSql): Promise<Message[]> {
    const reachableSinceMs = this.#reachableSinceMs ?? Number.POSITIVE_INFINITY
    return evaluateCluster(tx, this.#options, {
      now: this.#now,
      startedAtMs: this.#startedAtMs ?? 0,
      canMissReplicas: this.#now() - reachableSinceMs >= HEARTBEATS_RESUMED_MS
    })
  }

  #quietSummary(tx: TransactionSql): Promise<Message[]> {
    return quietSummary(tx, async () => (await loadAlerts(tx, [])).conditions, this.#options)
  }

  #messageOf(notice: Notice): EventMessage {
    return noticeMessage(notice, this.#options)
  }

  /** The message for the destinations that have not got it. */
  #restOf(notice: Notice): Message {
    return { ...this.#messageOf(notice), sent: this.#sent.get(notice) }
  }

  /**
   * Sends the notices of this replica past the outbox. Those that every destination got are not written to it. Until the
   * end of the last known quiet window they wait.
   */
  async #sendUnsent(): Promise<void> {
    if (this.#now() < this.#quietUntilMs) return
    const { telegram, webhook } = this.#options.sendDirectly
    await Promise.all([telegram && this.#sendTo('telegram', telegram), webhook && this.#sendTo('webhook', webhook)])
    this.#unsent = this.#unsent.filter(notice => {
      const sent = this.#sent.get(notice)
      return (telegram && !sent?.has('telegram')) || (webhook && !sent?.has('webhook'))
    })
  }

  /** Sends what a destination has not got, the oldest first, until one fails. */
  async #sendTo(destination: Destination, send: (message: EventMessage) => Promise<unknown>): Promise<void> {
    for (const notice of this.#unsent) {
      const sent = this.#sent.get(notice) ?? new Set()
      this.#sent.set(notice, sent)
      if (sent.has(destination)) continue
      try {
        await send(this.#messageOf(notice))
        sent.add(destination)
      } catch (err) {
        this.#options.log.warn({ err, destination }, 'alert not sent, waiting for the database')
        return
      }
    }
  }
}

function isAboutDatabase(details: Notice['details']): boolean {
  return details.kind === 'readiness' && details.error.startsWith('database_')
}
