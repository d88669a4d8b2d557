/** Reads the order in which transactions lock tables from the log of Postgres, and compares it with LOCK_ORDER. */
import { LOCK_ORDER } from '../../src/database/lock-order.ts'

/** Settings of a server whose log `readTransactions` can read; without the values of parameters. */
export const TRACE_SETTINGS = {
  log_statement: 'all',
  log_line_prefix: '%p %v|',
  log_parameter_max_length: '0'
} as const

/** The advisory locks of transactions, which come before all tables. */
const ADVISORY = 'pg_advisory_xact_lock'

const steps = new Map<string, number>([
  [ADVISORY, -1],
  ...LOCK_ORDER.flatMap(({ tables }, step) => tables.map((table): [string, number] => [table, step]))
])

/** A table of which a statement locks rows. */
export interface Lock {
  table: string
  /** False for `skip locked`, and for inserts without a wait: such a lock is held, but never waited for. */
  waits: boolean
}

/** The statements of each transaction in the log, in their order. One without `begin` has one statement. */
export function readTransactions(log: string): string[][] {
  const transactions = new Map<string, string[]>()
  let statements: string[] = []
  let current = false
  for (const line of log.split('\n')) {
    const [, transaction, statement] = /^(\d+ \d+\/\d+)\|LOG: {2}(?:execute [^:]*|statement): (.*)$/.exec(line) ?? []
    if (transaction !== undefined && statement !== undefined) {
      statements = transactions.get(transaction) ?? []
      transactions.set(transaction, statements)
      statements.push(statement)
      current = true
    } else if (current && line.startsWith('\t')) statements.push(`${statements.pop()}\n${line.slice(1)}`)
    else current = false
  }
  return [...transactions.values()]
}

/** The functions of the schema, with the rows that each locks. */
const FUNCTIONS: Readonly<Record<string, Lock>> = {
  pg_advisory_xact_lock: { table: ADVISORY, waits: true },
  count_audited_attempts: { table: 'audit_log', waits: true },
  delete_old_audit_rows: { table: 'audit_log', waits: false }
}

const TOKEN = new RegExp(
  [
    /(?<open>\()/,
    /(?<close>\))/,
    /\bfor (?:no key update|update|share)(?: of (?<of>\w+))?(?<skip> skip locked)?/,
    /\bdo update\b/,
    /\b(?:insert into|update|delete from|lock table) (?<written>\w+)/,
    /\bfrom (?<from>\w+)/,
    new RegExp(`\\b(?<called>${Object.keys(FUNCTIONS).join('|')})\\(`)
  ]
    .map(({ source }) => source)
    .join('|'),
  'g'
)

/** An insert whose only key is a new number. */
const INSERT_WITHOUT_WAIT = /^insert into orders \((?![^)]*\bexchange_order_id\b)/

/**
 * The tables of LOCK_ORDER that a statement locks, those of foreign keys excepted. An insert into `audit_log` is not
 * one of them: it waits for no lock, and no statement waits for it.
 */
export function locksOf(statement: string): Lock[] {
  const locks: Lock[] = []
  const text = statement.replaceAll(/\s+/g, ' ')
  /** The table that is read at each depth of parentheses. */
  const read: (string | undefined)[] = [undefined]
  for (const { 0: token, index, groups = {} } of text.matchAll(TOKEN)) {
    if (groups.open) read.push(undefined)
    else if (groups.close) read.pop()
    else if (groups.called) {
      locks.push(...[FUNCTIONS[groups.called] ?? []].flat())
      read.push(undefined)
    } else if (groups.from) read[read.length - 1] = groups.from
    else if (groups.written && token !== 'insert into audit_log')
      locks.push({ table: groups.written, waits: !INSERT_WITHOUT_WAIT.test(text.slice(index)) })
    else if (token.startsWith('for ')) {
      const table = groups.of ?? read.at(-1)
      if (table !== undefined) locks.push({ table, waits: groups.skip === undefined })
    }
  }
  const skipped = new Set(locks.flatMap(({ table, waits }) => (waits ? [] : [table])))
  return locks
    .filter(({ table }) => steps.has(table))
    .map(({ table, waits }) => ({ table, waits: waits && !skipped.has(table) }))
}

/** The waits of a transaction for a table while it holds locks of a table that comes later in LOCK_ORDER. */
export function violationsOf(statements: readonly string[]): string[] {
  const held = new Map<string, number>()
  const found: string[] = []
  for (const statement of statements) {
    const locks = locksOf(statement)
    for (const { table, waits } of locks) {
      const step = steps.get(table) ?? 0
      const later = [...held].flatMap(([other, otherStep]) => (otherStep > step ? [other] : []))
      if (waits && !held.has(table) && later.length > 0) found.push(`${table} after ${later.join(', ')}: ${statement}`)
    }
    for (const { table } of locks) held.set(table, steps.get(table) ?? 0)
  }
  return found
}
