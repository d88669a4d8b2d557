// @FEAT:exchanges @COMP:service @TYPE:core
import type { Sql, TransactionSql } from '../database/client.ts'
import { ExchangeError } from '../exchanges/exchange-error.ts'

/** The active accounts of an exchange that a job could not read for ten minutes. */
export interface FailingAccounts {
  exchange: string
  count: number
  /** The names of the accounts that began to fail last, five at most, the last one first. */
  names: string[]
  /** Why they fail, in alphabetical order, five at most. */
  codes: string[]
  /** When the first and the last of them began to fail. */
  since: Date
  newestSince: Date
}

/**
 * Records which accounts the run of a job could not read, by id, each with the reason. They replace those of the run
 * before it: an account that fails again keeps the time of its first failure. Call it in a transaction of the run.
 * Idempotent.
 */
export async function recordFailures(
  tx: TransactionSql,
  jobId: string,
  failures: ReadonlyMap<string, string>
): Promise<void> {
  const rows = Array.from(failures, ([account_id, error_code]) => ({ account_id, error_code }))
  await tx`
    with failing as materialized (
      select * from jsonb_to_recordset(${JSON.stringify(rows)}::text::jsonb) as r (account_id bigint, error_code text)
    ), ended as (
      delete from account_failures
      where job_id = ${jobId} and account_id not in (select account_id from failing)
    )
    insert into account_failures as known (account_id, job_id, error_code)
    select account_id, ${jobId}, error_code from failing order by account_id
    on conflict (account_id, job_id) do update set error_code = excluded.error_code
    where known.error_code <> excluded.error_code`
}

/** Whether failures of a job are recorded: if not, a run without failures has nothing to record. */
export async function hasFailures(sql: Sql | TransactionSql, jobId: string): Promise<boolean> {
  const rows = await sql`select from account_failures where job_id = ${jobId} limit 1`
  return rows.length > 0
}

/** The reason why an account cannot be read, from the error of the call: a code of exchanges, or `internal`. */
export function failureCode(err: unknown): string {
  return err instanceof ExchangeError ? err.code : 'internal'
}

/**
 * The accounts that a job could not read for ten minutes, by exchange. Accounts whose keys are refused are not among
 * them: they have an alert of their own.
 */
export async function failingAccounts(tx: TransactionSql): Promise<FailingAccounts[]> {
  const rows = await tx<(Omit<FailingAccounts, 'newestSince'> & { newest_since: Date })[]>`
    with failing as (
      select a.account_id, a.name, a.exchange, min(f.since) as since, array_agg(f.error_code) as codes
      from account_failures f join accounts a using (account_id)
      where f.since <= now() - interval '10 minutes' and a.is_active and a.state = 'ok'
      group by a.account_id
    )
    select exchange, count(*)::int as count, min(since) as since, max(since) as newest_since,
      to_jsonb((array_agg(name order by since desc, account_id))[:5]) as names,
      (select to_jsonb((array_agg(distinct code order by code))[:5])
        from failing other cross join unnest(other.codes) code where other.exchange = failing.exchange) as codes
    from failing group by exchange order by exchange`
  return rows.map(({ newest_since, ...rest }) => ({ ...rest, newestSince: newest_since }))
}
