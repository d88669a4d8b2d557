// @FEAT:health-monitoring @COMP:service @TYPE:core
import type { Sql, TransactionSql } from '../database/client.ts'
import type { NoticeEvent } from './notice-event.ts'

/** The longest quiet window, in minutes. */
export const MAX_QUIET_MINUTES = 24 * 60
/** An end later than this was written before the database's clock was set back. */
const LONGEST = '1441 minutes'
/** Further notifications of one window are suppressed, and neither counted nor listed. */
const MAX_NOTICES = 10_000
/** A window whose summary no replica wrote is deleted after this time. */
const KEPT_HOURS = 25

/** A time in which notifications are suppressed. */
export interface QuietWindow {
  /** Who set it last. */
  by: string
  reason: string
  /** Its start; a window that replaces another has the start of that one. */
  since: Date
  until: Date
}

/** A notification that was suppressed. */
export interface SuppressedNotice {
  type: NoticeEvent['type']
  /** Kind and key of the condition; null for messages that are no alerts of conditions. */
  kind: string | null
  condition: string | null
  /** The line in the summary; null: the message only counts. */
  line: string | null
}

/** A window that is over, and what it suppressed, in order. */
export interface EndedWindow extends QuietWindow {
  notices: SuppressedNotice[]
}

/** What an outbox suppresses. */
export interface SuppressibleMessage {
  key: string
  event: NoticeEvent
  line?: string
}

function columns(sql: Sql | TransactionSql) {
  return sql`set_by as by, reason, since, until_at as until`
}

function isQuiet(sql: Sql | TransactionSql) {
  return sql`(quiet_window.until_at > now() and quiet_window.until_at <= now() + ${LONGEST}::interval)`
}

/** The quiet window of now; undefined without one. */
export async function quietWindow(sql: Sql | TransactionSql): Promise<QuietWindow | undefined> {
  const [window] = await sql<QuietWindow[]>`select ${columns(sql)} from quiet_window where ${isQuiet(sql)}`
  return window
}

/**
 * Starts a quiet window in a transaction. It replaces the current one, whose suppressed notifications are then part of the
 * summary of this one.
 */
export async function startQuietWindow(
  tx: TransactionSql,
  { by, reason, forMinutes }: { by: string; reason: string; forMinutes: number }
): Promise<QuietWindow> {
  const [window] = await tx<QuietWindow[]>`
    insert into quiet_window (set_by, reason, since, until_at)
    values (${by}, ${reason}, now(), now() + make_interval(mins => ${forMinutes}::int))
    on conflict (is_only) do update set set_by = excluded.set_by, reason = excluded.reason, until_at = excluded.until_at,
      since = case when ${isQuiet(tx)} then quiet_window.since else excluded.since end
    returning ${columns(tx)}`
  if (!window) throw new Error('no quiet window was written')
  return window
}

/** Ends the quiet window in a transaction. The next evaluation of alerts writes its summary. Idempotent. */
export async function endQuietWindow(tx: TransactionSql): Promise<void> {
  await tx`update quiet_window set until_at = now() where ${isQuiet(tx)}`
}

/**
 * Records messages as suppressed when there is a quiet window. The window is locked until the end of the transaction, so
 * that its summary has these messages. Idempotent.
 * @returns whether there is one
 */
export async function suppress(tx: TransactionSql, messages: readonly SuppressibleMessage[]): Promise<boolean> {
  const [window] = await tx`select from quiet_window where ${isQuiet(tx)} for share`
  if (!window) return false
  const rows = messages.map(({ key, event: { type, data }, line = null }) => {
    return { key, type, kind: textOf(data.kind), condition: textOf(data.condition), line }
  })
  await tx`
    insert into quiet_notices (dedupe_key, type, kind, condition, line)
    select part->>'key', part->>'type', part->>'kind', part->>'condition', part->>'line'
    from jsonb_array_elements(${JSON.stringify(rows)}::text::jsonb) with ordinality as parts (part, at)
    where not exists (select from outbox where dedupe_key in (part->>'key', 'webhook:' || (part->>'key')))
    order by at limit greatest(${MAX_NOTICES}::int - (select count(*) from quiet_notices), 0)
    on conflict do nothing`
  return true
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}

/** How long the quiet window lasts, in milliseconds: 0 when it is over; undefined without one. */
export async function quietWindowLeftMs(tx: TransactionSql): Promise<number | undefined> {
  // Without parameters it costs one network round trip.
  const [row] = await tx<{ leftMs: number }[]>`
    select (case when until_at <= now() + interval '1441 minutes' then
      greatest(extract(epoch from until_at - now()) * 1000, 0) else 0 end)::float8 as "leftMs" from quiet_window`
  return row?.leftMs
}

/**
 * Removes a window that is over and what it suppressed. Undefined without one, and while a transaction adds to it: then a
 * later call returns it.
 */
export async function takeEndedWindow(tx: TransactionSql): Promise<EndedWindow | undefined> {
  const [window] = await tx<QuietWindow[]>`
    select ${columns(tx)} from quiet_window where not ${isQuiet(tx)} for no key update skip locked`
  if (!window) return undefined
  const notices = await tx<SuppressedNotice[]>`
    with suppressed as (delete from quiet_notices returning notice_id, type, kind, condition, line)
    select type, kind, condition, line from suppressed order by notice_id`
  await tx`delete from quiet_window`
  return { ...window, notices: [...notices] }
}

/** Deletes a window that has been over for 25 hours, because no replica sends messages. Idempotent. @returns 1 or 0 */
export async function sweepQuietWindow(tx: TransactionSql): Promise<number> {
  const [window] = await tx`
    select from quiet_window where until_at < now() - make_interval(hours => ${KEPT_HOURS}::int)
    for no key update skip locked`
  if (!window) return 0
  await tx`delete from quiet_notices`
  await tx`delete from quiet_window`
  return 1
}
