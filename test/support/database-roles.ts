/** A server of its own with the roles of deploy/postgres/roles.sql, each with its name as its password. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import postgres from 'postgres'
import type { Test } from 'tap'
import { runCommand } from './command.ts'
import { startTestPostgres } from './postgres.ts'
import { projectRoot } from './project.ts'

const FILE = join(projectRoot, 'deploy/postgres/roles.sql')
const ROLES = ['trading_owner', 'trading_service', 'trading_entry', 'trading_reader']

/** Runs the file with psql. @returns what psql printed */
export function runRoles(adminUrl: string): string {
  const { status, stdout, stderr } = spawnSync('psql', ['--no-psqlrc', '--file', FILE, adminUrl], { encoding: 'utf8' })
  return status === 0 && stderr === '' ? stdout.trim() : `${status}: ${stderr}`
}

/** A server with an empty database, on which the roles have passwords. */
export async function serverWithRoles(t: Test, options: { maxConnections?: number } = {}) {
  const server = await startTestPostgres(t, options)
  await server.query("create role admin superuser login password 'admin'")
  await server.query('create database fresh')
  const as = (role: string) =>
    server.url.replace('trading:trading@', `${role}:${role}@`).replace(/\/trading$/, '/fresh')
  t.equal(
    runRoles(as('admin')),
    'The roles exist. Set their passwords, migrate as trading_owner, and run this file again.'
  )
  for (const role of ROLES) await server.query(`alter role ${role} password '${role}'`)
  return {
    server,
    admin: as('admin'),
    owner: as('trading_owner'),
    service: as('trading_service'),
    entry: as('trading_entry'),
    reader: as('trading_reader')
  }
}

/** Migrates as the owner, and runs the file again. @returns what psql printed */
export async function migrate(owner: string, admin: string): Promise<string> {
  const { code, stderr } = await runCommand({ DATABASE_URL: owner }, [], 'migrate')
  return code === 0 ? runRoles(admin) : stderr
}

/** The SQLSTATE of a statement, or its result. */
export async function outcomeOf(url: string, statement: string): Promise<string> {
  const sql = postgres(url, { max: 1, onnotice: () => undefined })
  try {
    return JSON.stringify(await sql.unsafe(statement))
  } catch (err) {
    return err instanceof postgres.PostgresError ? err.code : String(err)
  } finally {
    await sql.end()
  }
}
