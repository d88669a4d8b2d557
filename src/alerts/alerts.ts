// @FEAT:health-monitoring @COMP:service @TYPE:core
import { HOUR, MINUTE, SECOND } from '../async/durations.ts'
import type { Undone } from '../scheduler/job.ts'
import type { UnexplainedDifference } from '../trading/book-state.ts'
import type { FlaggedOrder } from '../trading/flagged-orders.ts'

/** What an alert is about. Times are in milliseconds since the epoch. */
export type AlertDetails =
  | { kind: 'readiness'; instance: string; error: string }
  | { kind: 'job_failed'; jobId: string; jobName: string; runId: string; errorCode: string }
  | { kind: 'job_partial'; jobId: string; jobName: string; runId: string; undone: Undone }
  | { kind: 'job_overdue'; jobId: string; jobName: string; dueAt: number }
  | { kind: 'job_abandoned'; jobId: string; jobName: string; runId: string; instance: string }
  | { kind: 'scheduler_stopped'; by: string; reason: string | null; until: number | null }
  | { kind: 'no_runner' }
  | { kind: 'credentials_refused'; exchange: string; account: string }
  | { kind: 'accounts_failed'; exchange: string; count: number; accounts: string[]; codes: string[] }
  | { kind: 'orders_flagged'; count: number; orders: FlaggedOrder[] }
  | { kind: 'books_unexplained'; count: number; differences: UnexplainedDifference[] }
  | { kind: 'replica_silent'; instance: string; lastSeenAt: number }

export type AlertKind = AlertDetails['kind']

/** When a condition is reported. All in milliseconds. */
interface AlertRule {
  /** An alert is due after failures of this total length without a recovery in between. */
  confirmMs: number
  /** The condition is over when it has not failed for this long. */
  recoverMs: number
  /** Shortest interval between two alerts with one key. An earlier alert is delayed, and dropped when its condition ends. */
  minIntervalMs: number
  /** Interval of reminders, counted from the start of the condition; null: none. */
  remindMs: number | null
}

export type AlertRules = Readonly<Record<AlertKind, AlertRule>>

/** The default rules. */
export const alertRules: AlertRules = {
  readiness: { confirmMs: 30 * SECOND, recoverMs: 30 * SECOND, minIntervalMs: 10 * MINUTE, remindMs: HOUR },
  // `recoverMs` is longer than the longest interval of a job (307 s): a job that fails every other time is one condition.
  job_failed: { confirmMs: 0, recoverMs: 10 * MINUTE, minIntervalMs: 15 * MINUTE, remindMs: null },
  job_partial: { confirmMs: 0, recoverMs: 10 * MINUTE, minIntervalMs: 15 * MINUTE, remindMs: 24 * HOUR },
  job_overdue: { confirmMs: 0, recoverMs: 10 * MINUTE, minIntervalMs: 15 * MINUTE, remindMs: 6 * HOUR },
  job_abandoned: { confirmMs: 0, recoverMs: 10 * MINUTE, minIntervalMs: 15 * MINUTE, remindMs: null },
  // A person stops and starts it: the state does not fluctuate, and that person expects the message.
  scheduler_stopped: { confirmMs: 0, recoverMs: 0, minIntervalMs: MINUTE, remindMs: HOUR },
  // Longer than the restart of the only replica.
  no_runner: { confirmMs: MINUTE, recoverMs: 0, minIntervalMs: 10 * MINUTE, remindMs: HOUR },
  credentials_refused: { confirmMs: 0, recoverMs: 10 * MINUTE, minIntervalMs: HOUR, remindMs: 24 * HOUR },
  // The accounts have failed for ten minutes. One condition has all accounts of an exchange.
  accounts_failed: { confirmMs: 0, recoverMs: 10 * MINUTE, minIntervalMs: 30 * MINUTE, remindMs: 24 * HOUR },
  // One condition has all orders.
  orders_flagged: { confirmMs: 0, recoverMs: 10 * MINUTE, minIntervalMs: 15 * MINUTE, remindMs: 24 * HOUR },
  // One condition has all differences. They exist in three runs before they are reported.
  books_unexplained: { confirmMs: 0, recoverMs: 0, minIntervalMs: 15 * MINUTE, remindMs: 24 * HOUR },
  // After an outage of the database no replica counts as silent for a while: that is no recovery.
  replica_silent: { confirmMs: 0, recoverMs: MINUTE, minIntervalMs: 10 * MINUTE, remindMs: HOUR }
}

/**
 * The state of a condition. It is valid until the next observation of its key, so changes are sufficient.
 * `at` is in milliseconds since the epoch. Default: now.
 */
export type Observation = { key: string; at?: number } & (
  | { failing: false }
  | {
      failing: true
      details: AlertDetails
      /** When it began. Default: the time of the first observation. */
      since?: number
      /**
       * Identifies this occurrence for every replica (a run_id, the time of a change in the database), so that their
       * messages about it have the same key. Default: the time when it began.
       */
      episode?: string
      /**
       * Of a condition of several accounts or orders: when the last of them joined it. One that joins after the alert is
       * reported by a reminder, not more often than `minIntervalMs`.
       */
      joinedAt?: number
    }
)

/** A message that is due. It is written once per `dedupeKey`, by any replica. */
export interface Notice {
  type: 'alert' | 'reminder' | 'recovery'
  key: string
  dedupeKey: string
  details: AlertDetails
  /** When the condition began and when this notice was decided, in milliseconds since the epoch. */
  since: number
  at: number
  /** How long the condition has lasted, without the wait for its recovery, in milliseconds. */
  lastedMs: number
}

/** A failing condition that is not over. These names are stored in the column `alerts.condition`. */
interface Trouble {
  details: AlertDetails
  since: number
  episode: string
  failing: boolean
  /** The total length of its failures, in milliseconds. */
  failedMs: number
  wellSince: number | null
  /** An alert was written, and its recovery was not. */
  isTold: boolean
  reminders: number
  /** When the last member joined, and the last of those that were reported; only of a condition with members. */
  joinedAt?: number
  reportedTo?: number
}

/** The state of one key. Plain JSON. */
export interface Condition {
  lastAt: number
  alertedAt: number | null
  trouble: Trouble | null
}

/** Conditions by key: the result of `snapshot` and an option of the constructor. Plain JSON. */
export type Conditions = Readonly<Record<string, Condition>>

/** The new condition of a key (undefined: none), and the notices that are due, in order. */
export interface Decision {
  condition: Condition | undefined
  notices: Notice[]
}

/**
 * Decides which messages about a condition are due: an alert once it is confirmed, reminders while it lasts, and one
 * recovery for each alert. Pure. The previous state is valid until this observation, so notices that became due since
 * then come first. An observation older than the previous one gets the time of that one.
 */
function decide(before: Condition | undefined, rules: AlertRules, observation: Observation & { at: number }): Decision {
  const elapsed = elapse(before, rules, observation.key, observation.at)
  const { condition, notice } = step(elapsed.condition, rules, observation)
  return { condition, notices: notice ? [...elapsed.notices, notice] : elapsed.notices }
}

/** Decides what is due at `at`, in milliseconds since the epoch, without a new observation. Pure. */
function elapse(before: Condition | undefined, rules: AlertRules, key: string, at: number): Decision {
  if (before === undefined) return { condition: undefined, notices: [] }
  const { trouble } = before
  const same: Observation = trouble?.failing
    ? { key, failing: true, details: trouble.details }
    : { key, failing: false }
  const { condition, notice } = step(before, rules, { ...same, at })
  return { condition, notices: notice ? [notice] : [] }
}

function step(
  before: Condition | undefined,
  rules: AlertRules,
  observation: Observation & { at: number }
): { condition: Condition | undefined; notice?: Notice } {
  const { key } = observation
  const at = Math.max(observation.at, before?.lastAt ?? observation.at)
  const trouble = observe(before, observation, at)
  const alertedAt = before?.alertedAt ?? null
  if (trouble === null) return { condition: remember(rules, before, at) }

  const { confirmMs, recoverMs, minIntervalMs, remindMs } = rules[trouble.details.kind]
  const notice = (type: Notice['type'], name: string = type): Notice => ({
    type,
    key,
    dedupeKey: `${key}:${trouble.episode}:${name}`,
    details: trouble.details,
    since: trouble.since,
    at,
    lastedMs: (trouble.wellSince ?? at) - trouble.since
  })
  const remindersDue = remindMs === null ? 0 : Math.floor((at - trouble.since) / remindMs)

  if (!trouble.failing) {
    const isOver = trouble.wellSince !== null && at - trouble.wellSince >= recoverMs
    if (!isOver) return { condition: { lastAt: at, alertedAt, trouble } }
    const condition = alertedAt === null ? undefined : { lastAt: at, alertedAt, trouble: null }
    return trouble.isTold ? { condition, notice: notice('recovery') } : { condition }
  }
  if (!trouble.isTold) {
    const isDue = trouble.failedMs >= confirmMs && (alertedAt === null || at - alertedAt >= minIntervalMs)
    if (!isDue) return { condition: { lastAt: at, alertedAt, trouble } }
    const { joinedAt } = trouble
    const alerted = {
      ...trouble,
      isTold: true,
      reminders: remindersDue,
      ...(joinedAt !== undefined && { reportedTo: joinedAt })
    }
    return { condition: { lastAt: at, alertedAt: at, trouble: alerted }, notice: notice('alert') }
  }
  const { joinedAt = 0, reportedTo = joinedAt } = trouble
  if (joinedAt > reportedTo && (alertedAt === null || at - alertedAt >= minIntervalMs)) {
    const reported = { ...trouble, reportedTo: joinedAt, reminders: remindersDue }
    return {
      condition: { lastAt: at, alertedAt: at, trouble: reported },
      notice: notice('reminder', `joined-${joinedAt}`)
    }
  }
  if (remindersDue <= trouble.reminders) return { condition: { lastAt: at, alertedAt, trouble } }
  return {
    condition: { lastAt: at, alertedAt, trouble: { ...trouble, reminders: remindersDue } },
    notice: notice('reminder', `reminder-${remindersDue}`)
  }
}

/** The trouble after an observation; null when there is none. */
function observe(before: Condition | undefined, observation: Observation, at: number): Trouble | null {
  const known = before?.trouble ?? null
  if (known === null) {
    if (!observation.failing) return null
    const { details, since = at, episode = String(since) } = observation
    const failedMs = Math.max(at - since, 0)
    const trouble = { details, since, episode, failing: true, failedMs, wellSince: null, isTold: false, reminders: 0 }
    return { ...trouble, ...joinOf(observation) }
  }
  const failedMs = known.failedMs + (known.failing && before ? at - before.lastAt : 0)
  if (!observation.failing) return { ...known, failing: false, failedMs, wellSince: known.wellSince ?? at }
  return { ...known, details: observation.details, failing: true, failedMs, wellSince: null, ...joinOf(observation) }
}

function joinOf({ joinedAt }: Observation & { failing: true }) {
  return joinedAt === undefined ? {} : { joinedAt }
}

/** The condition of a key without trouble: the time of the last alert, while it can delay the next one. */
function remember(rules: AlertRules, before: Condition | undefined, at: number): Condition | undefined {
  if (before === undefined || before.alertedAt === null) return undefined
  const longestMs = Math.max(...Object.values(rules).map(({ minIntervalMs }) => minIntervalMs))
  return at - before.alertedAt >= longestMs ? undefined : { ...before, lastAt: at }
}

export interface AlertBookOptions {
  rules?: AlertRules
  /** Milliseconds since the epoch. */
  now?: () => number
  /** A snapshot of earlier conditions. */
  conditions?: Conditions
}

/** Keeps the conditions of all keys and turns observations into notices. It has no timer: call `tick`. */
export class AlertBook {
  readonly #rules: AlertRules
  readonly #now: () => number
  readonly #conditions: Map<string, Condition>

  constructor({ rules = alertRules, now = Date.now, conditions = {} }: AlertBookOptions = {}) {
    this.#rules = rules
    this.#now = now
    this.#conditions = new Map(Object.entries(conditions))
  }

  /** Applies observations. @returns the notices that are due, in order */
  observe(...observations: readonly Observation[]): Notice[] {
    return observations.flatMap(observation => {
      const { key, at = this.#now() } = observation
      return this.#keep(key, decide(this.#conditions.get(key), this.#rules, { ...observation, at }))
    })
  }

  /** @returns the notices that are due without a new observation: confirmations, recoveries, reminders, delayed alerts */
  tick(at = this.#now()): Notice[] {
    return [...this.#conditions].flatMap(([key, condition]) => this.#keep(key, elapse(condition, this.#rules, key, at)))
  }

  /** The conditions of all keys. */
  snapshot(): Conditions {
    return Object.fromEntries(this.#conditions)
  }

  #keep(key: string, { condition, notices }: Decision): Notice[] {
    if (condition) this.#conditions.set(key, condition)
    else this.#conditions.delete(key)
    return notices
  }
}
