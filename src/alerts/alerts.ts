// @FEAT:health-monitoring @COMP:service @TYPE:core
import { HOUR, MINUTE, SECOND } from '../async/durations.ts'

/** What an alert is about. Times are in milliseconds since the epoch. */
export type AlertDetails =
  | { kind: 'readiness'; instance: string; error: string }
  | { kind: 'job_failed'; jobId: string; jobName: string; runId: string; errorCode: string }
  | { kind: 'job_overdue'; jobId: string; jobName: string; dueAt: number }
  | { kind: 'job_abandoned'; jobId: string; jobName: string; runId: string; instance: string }
  | { kind: 'scheduler_stopped'; by: string; reason: string | null; until: number | null }
  | { kind: 'credentials_refused'; exchange: string; account: string }
  | { kind: 'replica_silent'; instance: string; lastSeenAt: number }

export type AlertKind = AlertDetails['kind']

/** When a condition is told. All in milliseconds. */
export interface AlertRule {
  /** It must have failed for so long altogether, without having been well for `recoverMs` in between. */
  confirmMs: number
  /** It must have been well for so long without a break before it counts as over. */
  recoverMs: number
  /** Shortest distance of two alerts with one key. One that comes too early is told later if it still holds then. */
  minIntervalMs: number
  /** Distance of reminders, counted from the beginning; null: none. */
  remindMs: number | null
}

export type AlertRules = Readonly<Record<AlertKind, AlertRule>>

/** What the service does unless told otherwise. */
export const alertRules: AlertRules = {
  readiness: { confirmMs: 30 * SECOND, recoverMs: 30 * SECOND, minIntervalMs: 10 * MINUTE, remindMs: HOUR },
  // Longer than the longest interval of a job (307 s): one that fails every other time is one trouble, not a hundred.
  job_failed: { confirmMs: 0, recoverMs: 10 * MINUTE, minIntervalMs: 15 * MINUTE, remindMs: null },
  job_overdue: { confirmMs: 0, recoverMs: 10 * MINUTE, minIntervalMs: 15 * MINUTE, remindMs: 6 * HOUR },
  job_abandoned: { confirmMs: 0, recoverMs: 10 * MINUTE, minIntervalMs: 15 * MINUTE, remindMs: null },
  // Somebody stops or starts it: that does not flutter, and whoever started it wants to see it told.
  scheduler_stopped: { confirmMs: 0, recoverMs: 0, minIntervalMs: MINUTE, remindMs: HOUR },
  credentials_refused: { confirmMs: 0, recoverMs: 10 * MINUTE, minIntervalMs: HOUR, remindMs: 24 * HOUR },
  // After an outage of the database nobody is missed for a while; one who was missed before is not back for that.
  replica_silent: { confirmMs: 0, recoverMs: MINUTE, minIntervalMs: 10 * MINUTE, remindMs: HOUR }
}

/**
 * What was seen of a condition. It holds until the next observation of its key: to tell changes is enough.
 * `at` is in milliseconds since the epoch; without it, the clock's.
 */
export type Observation = { key: string; at?: number } & (
  | { failing: false }
  | {
      failing: true
      details: AlertDetails
      /** When it began, if that is known better than by this observation. */
      since?: number
      /**
       * Names this occurrence, alike for every observer (a run_id, the time of a change in the database). Replicas that
       * see the same occurrence then give their messages the same key. Default: the time when it began.
       */
      episode?: string
    }
)

/** A message to be written, once per `dedupeKey`, whoever comes with it. */
export interface Notice {
  type: 'alert' | 'reminder' | 'recovery'
  key: string
  dedupeKey: string
  details: AlertDetails
  /** When the condition began and when this notice was decided, in milliseconds since the epoch. */
  since: number
  at: number
  /** How long it has lasted, or did last: the wait until it counts as over is no part of it. In milliseconds. */
  lastedMs: number
}

interface Trouble {
  details: AlertDetails
  since: number
  episode: string
  failing: boolean
  /** How long it has failed altogether, in milliseconds. */
  failedMs: number
  wellSince: number | null
  /** An alert is out whose end has not been told. */
  isTold: boolean
  reminders: number
}

/** All that is remembered of one key. Plain JSON. */
export interface Condition {
  lastAt: number
  alertedAt: number | null
  trouble: Trouble | null
}

/** Conditions by key, as `snapshot` gives and the constructor takes them. Plain JSON. */
export type Conditions = Readonly<Record<string, Condition>>

/** What is to be remembered of a key (undefined: nothing), and what is to be told, in order. */
export interface Decision {
  condition: Condition | undefined
  notices: Notice[]
}

/**
 * Decides which messages a condition is worth: an alert once it is confirmed, reminders while it lasts, and one
 * recovery for each alert. Pure: the same observations always give the same notices. What held before holds until this
 * observation, so what has become due since then comes first. A time before the last one counts as that one.
 */
export function decide(
  before: Condition | undefined,
  rules: AlertRules,
  observation: Observation & { at: number }
): Decision {
  const elapsed = elapse(before, rules, observation.key, observation.at)
  const { condition, notice } = step(elapsed.condition, rules, observation)
  return { condition, notices: notice ? [...elapsed.notices, notice] : elapsed.notices }
}

/** What time alone makes due until `at`, in milliseconds since the epoch. Pure. */
export function elapse(before: Condition | undefined, rules: AlertRules, key: string, at: number): Decision {
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
    const told = { ...trouble, isTold: true, reminders: remindersDue }
    return { condition: { lastAt: at, alertedAt: at, trouble: told }, notice: notice('alert') }
  }
  if (remindersDue <= trouble.reminders) return { condition: { lastAt: at, alertedAt, trouble } }
  return {
    condition: { lastAt: at, alertedAt, trouble: { ...trouble, reminders: remindersDue } },
    notice: notice('reminder', `reminder-${remindersDue}`)
  }
}

/** The trouble with what was seen now added to it. */
function observe(before: Condition | undefined, observation: Observation, at: number): Trouble | null {
  const known = before?.trouble ?? null
  if (known === null) {
    if (!observation.failing) return null
    const { details, since = at, episode = String(since) } = observation
    const failedMs = Math.max(at - since, 0)
    return { details, since, episode, failing: true, failedMs, wellSince: null, isTold: false, reminders: 0 }
  }
  const failedMs = known.failedMs + (known.failing && before ? at - before.lastAt : 0)
  if (!observation.failing) return { ...known, failing: false, failedMs, wellSince: known.wellSince ?? at }
  return { ...known, details: observation.details, failing: true, failedMs, wellSince: null }
}

/** Without trouble only the last alert is worth remembering, for as long as the least distance to the next. */
function remember(rules: AlertRules, before: Condition | undefined, at: number): Condition | undefined {
  if (before === undefined || before.alertedAt === null) return undefined
  const longestMs = Math.max(...Object.values(rules).map(({ minIntervalMs }) => minIntervalMs))
  return at - before.alertedAt >= longestMs ? undefined : { ...before, lastAt: at }
}

export interface AlertBookOptions {
  rules?: AlertRules
  /** Milliseconds since the epoch. */
  now?: () => number
  /** What was remembered before. */
  conditions?: Conditions
}

/** Keeps the conditions of all keys and turns observations into notices. It owns no timer: `tick` must be called. */
export class AlertBook {
  readonly #rules: AlertRules
  readonly #now: () => number
  readonly #conditions: Map<string, Condition>

  constructor({ rules = alertRules, now = Date.now, conditions = {} }: AlertBookOptions = {}) {
    this.#rules = rules
    this.#now = now
    this.#conditions = new Map(Object.entries(conditions))
  }

  /** Takes what was seen and returns what is to be told about it, in order. */
  observe(...observations: readonly Observation[]): Notice[] {
    return observations.flatMap(observation => {
      const { key, at = this.#now() } = observation
      return this.#keep(key, decide(this.#conditions.get(key), this.#rules, { ...observation, at }))
    })
  }

  /** Returns what time alone has made due: confirmations, recoveries, reminders, alerts that were held back. */
  tick(at = this.#now()): Notice[] {
    return [...this.#conditions].flatMap(([key, condition]) => this.#keep(key, elapse(condition, this.#rules, key, at)))
  }

  /** All that is remembered. */
  snapshot(): Conditions {
    return Object.fromEntries(this.#conditions)
  }

  #keep(key: string, { condition, notices }: Decision): Notice[] {
    if (condition) this.#conditions.set(key, condition)
    else this.#conditions.delete(key)
    return notices
  }
}
