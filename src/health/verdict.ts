import type { DatabaseFailure } from '../database/failure.ts'
import type { Snapshot } from './state.ts'

/** A verdict younger than this is answered at once, an older one is renewed first. In milliseconds. */
export const FRESH_MS = 100

/** The main loop counts as overloaded when its last sign of life is older than this, in milliseconds. */
export const HEARTBEAT_LIMIT_MS = 1_000

/**
 * A verdict that nobody renews is worth nothing: `ok` after half a second (it is asked anew after `FRESH_MS`, so only a
 * dead or starved checker lets it grow so old), a failure later, since a mute database is told at once from the
 * standing verdict while the next check is under way. In milliseconds.
 */
const OK_LIMIT_MS = 500
const FAILURE_LIMIT_MS = 2_500

/** Why this replica is not ready, or not started: the closed list of the contract, the first that holds. */
export type NotReadyCode = 'draining' | 'starting' | 'migrations_pending' | DatabaseFailure | 'overloaded'

/** What the database check says: `starting` before the first verdict, `overloaded` when its verdict aged out. */
export type DatabaseCheck = 'ok' | 'starting' | DatabaseFailure | 'overloaded'

export function databaseCheck({ database, databaseAgeMs }: Snapshot): DatabaseCheck {
  if (database === 'unknown') return 'starting'
  return databaseAgeMs > (database === 'ok' ? OK_LIMIT_MS : FAILURE_LIMIT_MS) ? 'overloaded' : database
}

/** Why the replica is not ready; undefined when it is. */
export function notReady(snapshot: Snapshot): NotReadyCode | undefined {
  const database = databaseCheck(snapshot)
  if (snapshot.draining) return 'draining'
  if (database === 'starting') return 'starting'
  if (!snapshot.migrated && database === 'ok') return 'migrations_pending'
  if (database !== 'ok') return database
  return snapshot.pressure || snapshot.heartbeatAgeMs > HEARTBEAT_LIMIT_MS ? 'overloaded' : undefined
}

/** Why the replica has not started; undefined when it has, for good. */
export function notStarted(snapshot: Snapshot): NotReadyCode | undefined {
  if (snapshot.started) return undefined
  return notReady(snapshot) ?? 'starting'
}
