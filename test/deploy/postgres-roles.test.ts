// Compares the rights in deploy/postgres/roles.sql with the statements of the source. test/system/roles.test.ts runs
// it.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { LOCK_ORDER } from '../../src/database/lock-order.ts'
import { READ_ONLY_TABLES } from '../../src/database/table-guard.ts'
import { projectRoot } from '../support/project.ts'

const tables = LOCK_ORDER.flatMap(({ tables }) => tables).sort()

/** The rights of the service on each table, as `table: delete insert select update`. */
function grantedIn(text: string): string[] {
  const rights = new Map<string, string[]>()
  const grants = text.replaceAll(/--.*$/gm, '').matchAll(/^grant ([a-z, ]+) on\s([\w\s,]+?)\sto trading_service;/gm)
  for (const [, list = '', names = ''] of grants) {
    for (const name of names.split(/[\s,]+/).filter(name => name !== '' && tables.includes(name)))
      rights.set(name, [...(rights.get(name) ?? []), ...list.split(', ')])
  }
  return [...rights].map(([name, list]) => `${name}: ${list.sort().join(' ')}`).sort()
}

const source = readdirSync(join(projectRoot, 'src'), { recursive: true, encoding: 'utf8' })
  .filter(name => name.endsWith('.ts'))
  .map(name => readFileSync(join(projectRoot, 'src', name), 'utf8').replaceAll(/\/\*[\s\S]*?\*\//g, ''))
  .join('\n')

const isIn = (statement: RegExp) => statement.test(source)
/** Tables that triggers write, with the rights of the role whose statement fires them. */
const TRIGGERED: readonly string[] = ['book_totals']
const inserts = (table: string) => TRIGGERED.includes(table) || isIn(new RegExp(`\\binsert into ${table}\\b`))
const deletes = (table: string) => isIn(new RegExp(`\\bdelete from ${table}\\b`))
/** Tables whose rows are only added. */
const ADDED: readonly string[] = ['audit_log', 'position_adjustments']
/** Rows of a table that the service inserts may also be updated by `on conflict`, or locked. */
const updates = (table: string) =>
  !ADDED.includes(table) && (inserts(table) || isIn(new RegExp(`(?<!\\bfor |\\bkey |\\bdo )\\bupdate ${table}\\b`)))

t.test('the service has exactly the rights on each table that its statements need', async t => {
  const needed = tables.map(table =>
    [
      `${table}:`,
      ...(deletes(table) ? ['delete'] : []),
      ...(inserts(table) ? ['insert'] : []),
      'select',
      ...(updates(table) ? ['update'] : [])
    ].join(' ')
  )
  t.strictSame(grantedIn(readFileSync(join(projectRoot, 'deploy/postgres/roles.sql'), 'utf8')), needed)
  t.ok(needed.includes('audit_log: insert select'), 'rows of the audit log are only added')
  t.strictSame(
    needed.filter(line => line.endsWith(': select')),
    [...READ_ONLY_TABLES].sort().map(table => `${table}: select`)
  )
})

t.test('no statement of the source changes or deletes rows of the audit log', async t => {
  t.notMatch(source, /\b(update|delete from) audit_log\b/)
  t.match(source, /\binsert into audit_log\b/)
})
