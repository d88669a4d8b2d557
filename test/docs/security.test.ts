// What SECURITY.md says about settings, commands, files and days, against the source.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { createProgram } from '../../src/cli/program.ts'
import { configTable } from '../../src/config-table.ts'
import { projectRoot } from '../support/project.ts'

const read = (file: string) => readFileSync(join(projectRoot, file), 'utf8')
const text = read('SECURITY.md')
const section = (heading: string) => text.split(`\n## ${heading}\n`)[1]?.split('\n## ')[0] ?? ''
const spans = [...text.matchAll(/`([^`\n]+)`/g)].map(([, span = '']) => span)
const commands = createProgram(() => undefined).commands.map(command => command.name())

t.test('every setting that it names exists', async t => {
  const settings = new Set([...configTable().matchAll(/`([A-Z][A-Z_]+)`/g)].map(([, name = '']) => name))
  const named = spans.flatMap(span => /^([A-Z][A-Z_]{3,})(?:=|$)/.exec(span)?.[1] ?? [])
  t.ok(named.length > 10, `settings: ${named.length}`)
  t.strictSame(
    named.filter(name => !settings.has(name)),
    []
  )
})

t.test('every command that it names exists, also without its program', async t => {
  const named = spans.filter(span => /^[a-z]+:[a-z]+$/.test(span))
  t.ok(named.length > 0, `commands: ${named.length}`)
  t.strictSame(
    named.filter(name => !commands.includes(name)),
    []
  )
})

t.test('the steps after a compromise are numbered, and have the commands that end access', async t => {
  const steps = section('After a compromise')
  const numbers = [...steps.matchAll(/^(\d+)\. \*\*/gm)].map(([, number]) => Number(number))
  t.strictSame(
    numbers,
    numbers.map((_, i) => i + 1)
  )
  const used = [...steps.matchAll(/npm run admin -- (\S+)/g)].map(([, name]) => name)
  t.strictSame(used, [
    'user:list',
    'user:sessions',
    'user:disable',
    'user:password',
    'keys:rotate',
    'account:add',
    'account:list',
    'account:disable'
  ])
})

t.test('the days for which rows are kept, and the names of files, are those of the source', async t => {
  const backups = section('Backups')
  const sources = {
    audit: read('src/database/migrations/018.do.audit-log-functions.sql'),
    outbox: read('src/notifications/outbox.ts'),
    secrets: read('src/auth/generated-secret.ts'),
    first: read('src/auth/first-admin.ts')
  }
  const days = [...backups.matchAll(/(\d+) days/g)].map(([, number]) => number)
  t.strictSame(days, [/interval '(\d+) days'/.exec(sources.audit)?.[1], /KEPT_DAYS = (\d+)/.exec(sources.outbox)?.[1]])
  t.ok(sources.secrets.includes("'session-secret'") && sources.secrets.includes("'encryption-key'"))
  t.ok(sources.first.includes("'first-admin-password'"))
})
