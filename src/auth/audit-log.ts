import type { Sql, TransactionSql } from '../database/client.ts'
import type { Database } from '../database/database.ts'

export type AuditOutcome = 'requested' | 'succeeded' | 'refused' | 'failed'

export interface AuditEntry {
  /** Null when nobody known did it. */
  actor: string | null
  /** Null for what came by no network. */
  address: string | null
  action: string
  target?: string | undefined
  outcome: AuditOutcome
  /** Null for what no request asked for. */
  requestId: string | null
  details?: Record<string, unknown> | undefined
}

export interface AuditRow {
  audit_id: string
  at: Date
  actor: string | null
  address: string | null
  action: string
  target: string | null
  outcome: AuditOutcome
  request_id: string | null
  details: Record<string, unknown>
}

export interface AuditFilter {
  actor?: string | undefined
  action?: string | undefined
  /** Rows older than this `audit_id` only. */
  before?: string | undefined
  limit: number
}

/** Attempts beyond the limit are counted in one row for this long. */
const THROTTLED_WINDOW = '10 minutes'

/** Who did what, from where, with what result. Rows are only added. */
export class AuditLog {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  /** Adds a row; with `tx` in that transaction, so that it stands exactly when the change does. */
  async record(entry: AuditEntry, tx?: TransactionSql): Promise<void> {
    if (tx) await insert(tx, entry)
    else await this.#database.run(sql => insert(sql, entry))
  }

  /**
   * Records an attempt that was rejected without a check: one row for all attempts of a slot in a window, so that attempts
   * cannot fill the table. Not idempotent.
   * @throws {DatabaseUnavailableError}
   */
  async recordThrottled(slot: number, entry: Omit<AuditEntry, 'outcome'>): Promise<void> {
    const { actor, address, action, target = null, requestId, details = {} } = entry
    const first = JSON.stringify({ ...details, attempts: 1 })
    await this.#database.transaction(tx =>
      // Two statements: the second sees the row that another transaction added while the first waited for the slot.
      Promise.all([
        tx`select from sign_in_limits where slot = ${slot} for update`,
        tx`
          with counted as (
            update audit_log a
            set details = jsonb_set(a.details, '{attempts}', to_jsonb((a.details->>'attempts')::int + 1))
            from sign_in_limits l
            where l.slot = ${slot} and a.audit_id = l.throttled_audit_id and a.at > now() - ${THROTTLED_WINDOW}::interval
            returning a.audit_id
          ), added as (
            insert into audit_log (actor, address, action, target, outcome, request_id, details)
            select ${actor}, ${address}, ${action}, ${target}, 'refused', ${requestId}, ${first}::text::jsonb
            where not exists (select from counted)
            returning audit_id
          )
          update sign_in_limits set throttled_audit_id = audit_id from added where slot = ${slot}`
      ])
    )
  }

  /** Newest first. */
  async list({ actor, action, before, limit }: AuditFilter): Promise<AuditRow[]> {
    return this.#database.run(
      sql => sql<AuditRow[]>`
        select audit_id, at, actor, address, action, target, outcome, request_id, details from audit_log
        where true
          ${actor === undefined ? sql`` : sql`and actor = ${actor}`}
          ${action === undefined ? sql`` : sql`and action = ${action}`}
          ${before === undefined ? sql`` : sql`and audit_id < ${before}`}
        order by audit_id desc limit ${limit}`
    )
  }
}

async function insert(sql: Sql | TransactionSql, entry: AuditEntry): Promise<void> {
  const { actor, address, action, target = null, outcome, requestId, details = {} } = entry
  await sql`
    insert into audit_log (actor, address, action, target, outcome, request_id, details)
    values (${actor}, ${address}, ${action}, ${target}, ${outcome}, ${requestId}, ${JSON.stringify(details)}::text::jsonb)`
}
