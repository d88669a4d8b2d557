import type { Sql, TransactionSql } from '../database/client.ts'
import type { Database } from '../database/database.ts'
import { redactTokens } from '../log/redact.ts'

type AuditOutcome = 'requested' | 'succeeded' | 'refused' | 'failed'

/** An action or a sign-in attempt, for the audit log. */
export interface AuditEntry {
  /** A user name, `token:` with the name of a token, or `cli:` with that of an operator; absent when it is unknown. */
  actor?: string | undefined
  /** The address of the client; absent for a command of an operator. */
  address?: string | undefined
  action: string
  target?: string | undefined
  outcome: AuditOutcome
  /** Absent without an HTTP request. */
  requestId?: string | undefined
  details?: Record<string, unknown> | undefined
}

/** A row of the audit log. */
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

/** Which rows to list, the newest first. */
export interface AuditFilter {
  actor?: string | undefined
  action?: string | undefined
  /** Only rows older than this `audit_id`. */
  before?: string | undefined
  limit: number
}

/** For this time, the attempts of a slot that are rejected without a check are counted in one row. */
const THROTTLED_WINDOW = '10 minutes'

/** The audit log: actions and attempts with actor, address and outcome. Tokens in texts are removed. */
export class AuditLog {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  /**
   * Adds rows in one statement: all of them, or none. Not idempotent.
   * @throws {DatabaseUnavailableError}
   */
  async recordAll(entries: readonly AuditEntry[]): Promise<void> {
    const rows = entries.map(entry => ({ ...entry, request_id: entry.requestId }))
    await this.#database.run(
      sql => sql`
        insert into audit_log (actor, address, action, target, outcome, request_id, details)
        select actor, address, action, target, outcome, request_id, coalesce(details, '{}')
        from jsonb_to_recordset(${redactTokens(JSON.stringify(rows))}::text::jsonb) as row
          (actor text, address text, action text, target text, outcome text, request_id text, details jsonb)`
    )
  }

  /**
   * Adds a row. Not idempotent.
   * @param tx the transaction of the change: both are committed, or neither
   * @throws {DatabaseUnavailableError}
   */
  async record(entry: AuditEntry, tx?: TransactionSql): Promise<void> {
    if (tx) await insert(tx, entry)
    else await this.#database.run(sql => insert(sql, entry))
  }

  /**
   * Records attempts that were rejected without a check: one row for all attempts of a slot in a window, so that attempts
   * cannot fill the table. One statement, which holds no lock for a network round trip: replicas that begin a window at
   * the same time may add a row each. Not idempotent.
   * @param attempts how many
   * @throws {DatabaseUnavailableError}
   */
  async recordThrottled(slot: number, entry: Omit<AuditEntry, 'outcome'>, attempts: number): Promise<void> {
    const { actor = null, address = null, action, target = null, requestId = null, details = {} } = entry
    const first = JSON.stringify({ ...details, attempts })
    await this.#database.run(
      sql => sql`
        with counted as (
          select from sign_in_limits
          where slot = ${slot} and count_audited_attempts(throttled_audit_id, ${attempts}, ${THROTTLED_WINDOW})
        ), added as (
          insert into audit_log (actor, address, action, target, outcome, request_id, details)
          select ${actor}, ${address}, ${action}, ${target}, 'refused', ${requestId}, ${first}::text::jsonb
          where not exists (select from counted)
          returning audit_id
        )
        update sign_in_limits set throttled_audit_id = audit_id from added where slot = ${slot}`
    )
  }

  /** Lists rows, the newest first. @throws {DatabaseUnavailableError} */
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
  const { actor = null, address = null, action, target = null, outcome, requestId = null, details = {} } = entry
  await sql`
    insert into audit_log (actor, address, action, target, outcome, request_id, details)
    values (${actor}, ${address}, ${action}, ${target && redactTokens(target)}, ${outcome}, ${requestId},
      ${redactTokens(JSON.stringify(details))}::text::jsonb)`
}
