// @FEAT:health-monitoring @COMP:service @TYPE:core
import type { Sql, TransactionSql } from '../database/client.ts'

/** A replica whose heartbeat is newer answers commands. */
const RESPONDS_WITHIN = '10 seconds'
/** A replica that has not been seen for this many hours is removed. */
const KEPT_HOURS = 24

/** A replica that sends no heartbeat, was not shut down, and has no successor. */
interface SilentReplica {
  instanceId: string
  lastSeenAt: Date
}

/** A replica that stopped without a shutdown, and the start that replaced it. */
export interface UncleanEnd extends SilentReplica {
  restartedAt: Date
}

/** The replica that started first, of those that are alive and do not drain; undefined when there is none. */
export async function oldestReplica(tx: TransactionSql): Promise<string | undefined> {
  const [oldest] = await tx<{ instance_id: string }[]>`
    select instance_id from replicas where ${isAlive(tx)} and not draining
    order by started_at, instance_id limit 1`
  return oldest?.instance_id
}

/** The versions of the replicas that are alive, draining ones too. */
export async function livingVersions(tx: TransactionSql): Promise<string[]> {
  const rows = await tx<{ version: string }[]>`
    select distinct version from replicas where ${isAlive(tx)} order by version`
  return rows.map(({ version }) => version)
}

/** What the table says about all replicas. */
export interface ReplicasState {
  /** When the first of the replicas that are alive started; undefined when none is alive. */
  startedAt: Date | undefined
  /** Whether replicas are alive and do not drain, and none of them may run scheduled jobs. */
  lacksRunner: boolean
  /** Replicas without a heartbeat for 30 s that did not drain and that no later start replaces. */
  silent: SilentReplica[]
}

/** Reads the state of all replicas, in one statement: one replica reads it every ten seconds. */
export async function replicasState(tx: TransactionSql): Promise<ReplicasState> {
  const rows = await tx<
    { started_at: Date | null; lacks: boolean | null; instance_id: string | null; last_seen_at: Date | null }[]
  >`
    with living as (
      select min(started_at) as started_at, not bool_or(runs_jobs) filter (where not draining) as lacks
      from replicas where ${isAlive(tx)}
    )
    select living.started_at, living.lacks, silent.instance_id, silent.last_seen_at
    from living left join replicas silent
      on silent.last_seen_at < now() - ${deadAfter(tx)} and not silent.draining
      and not exists (
        select from replicas later
        where later.last_seen_at >= now() - ${deadAfter(tx)} and later.started_at > silent.last_seen_at
      )`
  return {
    startedAt: rows[0]?.started_at ?? undefined,
    lacksRunner: rows[0]?.lacks ?? false,
    silent: rows.flatMap(({ instance_id, last_seen_at }) =>
      instance_id === null || last_seen_at === null ? [] : [{ instanceId: instance_id, lastSeenAt: last_seen_at }]
    )
  }
}

/**
 * Removes and returns the ends of replicas that stopped without a shutdown and that started again or were replaced, in
 * the order in which they were last seen. Rows that are locked stay for the next call: their replicas write to them now.
 */
export async function takeUncleanEnds(tx: TransactionSql): Promise<UncleanEnd[]> {
  const rows = await tx<{ instance_id: string; last_seen_at: Date; restarted_at: Date }[]>`
    with living as (
      select instance_id, started_at from replicas where last_seen_at >= now() - ${deadAfter(tx)}
    ), gone as (
      delete from replicas
      where instance_id in (
        select instance_id from replicas dead
        where last_seen_at < now() - ${deadAfter(tx)}
          and exists (select from living where living.started_at > dead.last_seen_at)
        for update skip locked
      )
      returning instance_id, last_seen_at
    ), returned as (
      update replicas set lost_at = null
      from (
        select instance_id, lost_at from replicas
        where lost_at is not null and last_seen_at >= now() - ${deadAfter(tx)} for update skip locked
      ) as before
      where replicas.instance_id = before.instance_id
      returning replicas.instance_id, before.lost_at, replicas.started_at
    )
    select instance_id, last_seen_at,
      (select min(started_at) from living where started_at > last_seen_at) as restarted_at from gone
    union all
    select instance_id, lost_at, started_at from returned
    order by last_seen_at`
  return rows.map(({ instance_id, last_seen_at, restarted_at }) => ({
    instanceId: instance_id,
    lastSeenAt: last_seen_at,
    restartedAt: restarted_at
  }))
}

/** A subquery: the `instance_id` of each replica that is alive and does not drain, and of `instanceId` in any case. */
export function respondingReplicas(sql: Sql, instanceId: string) {
  return sql`(
    select instance_id from replicas
    where last_seen_at > now() - ${RESPONDS_WITHIN}::interval and last_seen_at < now() + ${RESPONDS_WITHIN}::interval
      and not draining
    union select ${instanceId}
  )`
}

/** Records the newest command to clear caches that a replica has applied. Idempotent; no effect without a row. */
export async function recordAppliedCommand(sql: Sql, instanceId: string, commandId: string): Promise<void> {
  await sql`update replicas set cache_command_seen = ${commandId} where instance_id = ${instanceId}`
}

/** Deletes up to `limit` replicas that have not been seen for 24 hours. Idempotent. @returns the number of deleted rows */
export async function sweepDeadReplicas(tx: TransactionSql, limit: number): Promise<number> {
  const { count } = await tx`
    delete from replicas where instance_id in (
      select instance_id from replicas where last_seen_at < now() - make_interval(hours => ${KEPT_HOURS}::int)
      order by last_seen_at limit ${limit} for update skip locked
    )`
  return count
}

/** A heartbeat in the future was written before the database's clock was set back. A living replica soon replaces it. */
function isAlive(tx: TransactionSql) {
  return tx`last_seen_at > now() - ${deadAfter(tx)} and last_seen_at < now() + ${deadAfter(tx)}`
}

/** Without a heartbeat for this long a replica is dead. A literal: a statement without parameters has one round trip. */
function deadAfter(tx: TransactionSql) {
  return tx`interval '30 seconds'`
}
