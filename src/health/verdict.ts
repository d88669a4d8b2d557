import type { DatabaseFailure } from '../database/failure.ts'
import type { Snapshot } from './shared-state.ts'

/** A verdict younger than this is used at once, an older one is refreshed first. In milliseconds. */
export const FRESH_MS = 100

/** The main loop is overloaded when its last heartbeat is older than this, in milliseconds. */
export const HEARTBEAT_LIMIT_MS = 1_000

/**
 * A verdict that is not refreshed expires: `ok` after half a second (it is checked again after `FRESH_MS`, so only a
 * probe thread that ended or got no processor lets it become so old), a failure later, because with an unresponsive
 * database the probes get the last verdict while the next check runs. In milliseconds.
 */
const OK_LIMIT_MS = 500
const FAILURE_LIMIT_MS = 2_500

/** Why this replica is not ready, or not started: the closed list of the contract. */
export type NotReadyCode = 'draining' | 'starting' | 'migrations_pending' | DatabaseFailure | 'overloaded'

/** The status of the database check: `starting` before the first verdict, `overloaded` when the verdict expired. */
export type DatabaseCheck = 'ok' | 'starting' | DatabaseFailure | 'overloaded'

/**
 * The status of the database in a snapshot: what the check found, and where it found nothing wrong, what the start-up and
 * the statements of the replica found.
 */
export function databaseCheck({ database, databaseAgeMs, incompatible, failing }: Snapshot): DatabaseCheck {
  if (database === 'unknown') return 'starting'
  if (databaseAgeMs > (database === 'ok' ? OK_LIMIT_MS : FAILURE_LIMIT_MS)) return 'overloaded'
  if (database !== 'ok') return database
  if (incompatible) return 'schema_incompatible'
  return failing ? 'database_failing' : 'ok'
}

/** Whether this replica may run jobs: not on a schema that this version cannot work on. */
export function mayRunJobs(snapshot: Snapshot): boolean {
  return !snapshot.incompatible && snapshot.database !== 'schema_incompatible'
}

/** Why the replica is not ready: the first reason of the list that applies; undefined when it is ready. */
export function notReady(snapshot: Snapshot): NotReadyCode | undefined {
  const database = databaseCheck(snapshot)
  if (snapshot.draining) return 'draining'
  if (database === 'starting') return 'starting'
  // Statements fail on a schema that is not complete.
  if (!snapshot.migrated && (database === 'ok' || database === 'database_failing')) return 'migrations_pending'
  if (database !== 'ok') return database
  return snapshot.pressure || snapshot.heartbeatAgeMs > HEARTBEAT_LIMIT_MS ? 'overloaded' : undefined
}

/** Why the replica has not started; undefined once it has. */
export function notStarted(snapshot: Snapshot): NotReadyCode | undefined {
  if (snapshot.started) return undefined
  return notReady(snapshot) ?? 'starting'
}
