import type { TransactionSql } from '../database/client.ts'
import { KNOWN_DAYS } from './sign-in-networks.ts'

/**
 * Removes up to `limit` sessions that have ended. A session without a request for a day has ended, whatever the settings
 * are. Idempotent.
 * @returns how many were removed
 */
export async function sweepSessions(tx: TransactionSql, limit: number): Promise<number> {
  const { count } = await tx`
    delete from sessions where session_hash in (
      select session_hash from sessions
      where expires_at < now() or last_seen_at < now() - interval '1 day' limit ${limit} for update skip locked
    )`
  return count
}

/**
 * Removes up to `limit` counters of failed sign-ins that did not change for a day. Idempotent.
 * @returns how many were removed
 */
export async function sweepSignInLimits(tx: TransactionSql, limit: number): Promise<number> {
  const { count } = await tx`
    delete from sign_in_limits where slot in (
      select slot from sign_in_limits where updated_at < now() - interval '1 day' limit ${limit} for update skip locked
    )`
  return count
}

/** Removes up to `limit` networks that are no longer known. Idempotent. @returns how many were removed */
export async function sweepSignInNetworks(tx: TransactionSql, limit: number): Promise<number> {
  const { count } = await tx`
    delete from sign_in_networks where network_hash in (
      select network_hash from sign_in_networks
      where last_sign_in_at < now() - make_interval(days => ${KNOWN_DAYS}::int) limit ${limit} for update skip locked
    )`
  return count
}

/** Removes up to `limit` audit rows older than 400 days. Idempotent. @returns how many were removed */
export async function sweepAuditLog(tx: TransactionSql, limit: number): Promise<number> {
  // The service needs no right to delete rows of the table: the function has it, and keeps newer rows.
  const [deleted] = await tx<{ count: number }[]>`select delete_old_audit_rows(${limit}) as count`
  return deleted?.count ?? 0
}
