import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import type { Test } from 'tap'
import { Passwords } from '../../src/auth/passwords.ts'
import { schedulerScript } from './project.ts'
import { type Service, startService } from './service.ts'
import { Client } from './session.ts'

export const ADMIN = 'ada'
export const PASSWORD = 'password of ada'

/** A process with the jobs of scheduler-entry.ts, and its admin routes. */
export interface Replica extends Service {
  name: string
  call(method: string, path: string, body?: object): Promise<{ status: number; body: Record<string, unknown> }>
}

/**
 * Starts a replica and waits until its scheduler polls.
 * @param jobs the names of its jobs, from scheduler-entry.ts
 */
export async function startReplica(
  t: Test,
  name: string,
  jobs: string,
  environment: Record<string, string>
): Promise<Replica> {
  // node runs the first script in its arguments.
  const service = await startService(t, { INSTANCE_ID: name, TEST_JOBS: jobs, ...environment }, [schedulerScript])
  await service.logged('scheduler state changed')
  const client = new Client(service.main)
  await createAdmin(String(environment.DATABASE_URL))
  // Three replicas that start at the same time on a small machine may shed load for a short time.
  const { status } = await until(
    () => client.signIn(ADMIN, PASSWORD),
    ({ status }) => status !== 503
  )
  if (status !== 200) throw new Error(`the admin was not signed in: ${status}`)
  return {
    ...service,
    name,
    async call(method, path, body) {
      const { status, answer } = await client.send(method, `/api/system/${path}`, body)
      return { status, body: answer }
    }
  }
}

/** Makes the admin of the replicas, once per database. */
export async function createAdmin(url: string): Promise<void> {
  const sql = postgres(url, { max: 1, prepare: false, fetch_types: false })
  try {
    const passwords = new Passwords()
    const hash = await passwords.hash(PASSWORD)
    await passwords.close()
    await sql`
      insert into users (username, password_hash, is_admin) values (${ADMIN}, ${hash}, true) on conflict do nothing`
  } finally {
    await sql.end({ timeout: 1 })
  }
}

/** A database client of the test, with the tables that the jobs of the replicas use. */
export async function observe(t: Test, url: string) {
  const sql = postgres(url, { max: 2, onnotice: () => undefined })
  t.teardown(() => sql.end({ timeout: 0 }))
  await sql`
    create table effects (
      run_id uuid not null, job_id text not null, instance text not null,
      scheduled_for timestamptz not null, at timestamptz not null
    )`
  await sql`create table gate (open boolean not null)`
  await sql`insert into gate values (false)`
  return sql
}

/** Repeats a request until its answer matches. The time-out of the test bounds it. */
export async function until<T>(ask: () => Promise<T>, fits: (answer: T) => boolean, everyMs = 50): Promise<T> {
  for (;;) {
    const answer = await ask()
    if (fits(answer)) return answer
    await sleep(everyMs)
  }
}
