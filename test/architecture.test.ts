import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import t from 'tap'
import { LOCK_ORDER } from '../src/database/lock-order.ts'
import { badHandlers, longFunctions } from './support/long-functions.ts'
import { projectRoot } from './support/service.ts'

/** A file of the service and its imports: files by their path from the root, packages by their name. */
interface Source {
  file: string
  text: string
  imports: string[]
  isPlugin: boolean
}

/** Static and lazy imports and re-exports, including those of types. */
const IMPORT = /(?:^|\n)\s*(?:import|export)\s(?:[^'";]*?\sfrom\s+)?'([^']+)'|\bimport\('([^']+)'\)/g

const sources = new Map(
  ['src', 'plugins', 'routes'].flatMap(folder =>
    readdirSync(join(projectRoot, folder), { recursive: true, encoding: 'utf8' })
      .filter(name => name.endsWith('.ts'))
      .map(name => {
        const file = join(folder, name)
        const text = readFileSync(join(projectRoot, file), 'utf8')
        const imports = [...text.matchAll(IMPORT)].map(([, of, lazy]) => resolved(file, of ?? lazy ?? ''))
        return [file, { file, text, imports, isPlugin: /^export default /m.test(text) }] satisfies [string, Source]
      })
  )
)

function resolved(from: string, target: string): string {
  return target.startsWith('.') ? relative('.', join(dirname(from), target)) : target
}

/** Imports that a rule forbids, as `importer -> imported`. */
function breaches(forbidden: (source: Source, imported: string) => boolean): string[] {
  return [...sources.values()].flatMap(source =>
    source.imports.filter(imported => forbidden(source, imported)).map(imported => `${source.file} -> ${imported}`)
  )
}

/** The files that import all layers: the whole service, and its process. */
const roots = new Set(['src/app.ts', 'src/server.ts'])
const isFastify = (name: string) => /^(fastify|@fastify\/|fastify-)/.test(name)
const isIn = (folder: string) => (name: string) => name.startsWith(`${folder}/`)

t.test('the imports of every file are found', async t => {
  t.ok(sources.size > 80, `files: ${sources.size}`)
  t.ok(sources.get('src/app.ts')?.imports.includes('plugins/db.ts'))
  t.ok(sources.get('plugins/db.ts')?.imports.includes('src/database/embedded/index.ts'), 'lazy imports are found')
  t.ok(sources.get('src/app.ts')?.imports.includes('fastify'), 'imports of several lines are found')
  const relatives = [...sources.values()].flatMap(({ imports }) => imports.filter(name => name.endsWith('.ts')))
  t.strictSame(
    relatives.filter(name => !sources.has(name)),
    [],
    'each names a file of the service'
  )
})

t.test('src imports neither Fastify nor plugins nor routes', async t => {
  const isAbove = (name: string) => isFastify(name) || isIn('plugins')(name) || isIn('routes')(name)
  t.strictSame(
    breaches(({ file }, imported) => isIn('src')(file) && !roots.has(file) && isAbove(imported)),
    []
  )
  t.strictSame(
    breaches(({ file }, imported) => file !== 'src/server.ts' && roots.has(imported)),
    [],
    'and only server.ts imports the files that import all layers'
  )
})

t.test('plugins do not import routes', async t => {
  t.strictSame(
    breaches(({ file }, imported) => isIn('plugins')(file) && isIn('routes')(imported)),
    []
  )
})

t.test('routes do not import plugins', async t => {
  t.strictSame(
    breaches(({ file }, imported) => isIn('routes')(file) && isIn('plugins')(imported)),
    []
  )
})

t.test('a route is imported only by the index of its folder', async t => {
  t.strictSame(
    breaches(
      ({ file }, imported) =>
        isIn('routes')(file) &&
        isIn('routes')(imported) &&
        sources.get(imported)?.isPlugin === true &&
        file !== join(dirname(imported), 'index.ts')
    ),
    []
  )
})

t.test('a file of src has 400 lines at most, except the adapters of the exchanges', async t => {
  const counted = [...sources.values()].filter(({ file }) => isIn('src')(file) && !isIn('src/exchanges/adapters')(file))
  t.strictSame(
    counted.map(({ file, text }) => ({ file, lines: text.split('\n').length - 1 })).filter(({ lines }) => lines > 400),
    []
  )
})

t.test('a function has 60 lines at most', async t => {
  t.strictSame(longFunctions([...sources.values()], 60), [])
})

t.test('the handler of a route is a named function of ten lines at most', async t => {
  const routes = [...sources.values()].filter(({ file }) => isIn('routes')(file))
  t.strictSame(badHandlers(routes, 10), [])
})

/** The modules of `src/`, from the lowest layer to the highest. A module imports only from those before it. */
const layers = [
  'accept.ts messages.ts errors.ts start-error.ts data-directory.ts protocol-errors.ts request-body.ts request-target.ts client-address.ts error-headers.ts duplicate-keys.ts locations.ts http-agent.ts http-call.ts retry-after.ts private-host.ts setting-types.ts log async domain connections',
  'metrics',
  'database',
  'config.ts',
  'replicas scheduler auth notifications exchanges',
  'accounts exchange-bans',
  'cache trading',
  'telegram-commands alerts jobs health heartbeat',
  'openapi pages cli',
  'config-table.ts node-version.ts start-up.ts app.ts server.ts'
].map(modules => modules.split(' '))

const moduleOf = (file: string) => file.split('/')[1] ?? ''
const layerOf = (file: string) => layers.findIndex(modules => modules.includes(moduleOf(file)))

t.test('every module of src has a layer, and imports nothing from a higher one', async t => {
  const modules = new Set([...sources.keys()].filter(isIn('src')).map(moduleOf))
  t.strictSame([...modules].sort(), layers.flat().sort())
  t.strictSame(
    breaches(({ file }, imported) => isIn('src')(file) && isIn('src')(imported) && layerOf(imported) > layerOf(file)),
    []
  )
})

t.test('modules do not import each other in a cycle', async t => {
  const imports = new Map<string, Set<string>>()
  for (const { file, imports: targets } of [...sources.values()].filter(({ file }) => isIn('src')(file))) {
    const known = imports.get(moduleOf(file)) ?? new Set()
    for (const target of targets.filter(isIn('src')))
      if (moduleOf(target) !== moduleOf(file)) known.add(moduleOf(target))
    imports.set(moduleOf(file), known)
  }
  t.strictSame(cyclesOf(imports), [])
})

t.test('files do not import each other in a cycle', async t => {
  t.strictSame(cyclesOf(new Map([...sources].map(([file, { imports }]) => [file, imports]))), [])
  t.strictSame(
    cyclesOf(
      new Map([
        ['a', ['b']],
        ['b', ['a']]
      ])
    ),
    ['a -> b -> a'],
    'a cycle is found'
  )
})

/** The cycles of a graph, each as `a -> b -> a`. */
function cyclesOf(graph: Map<string, Iterable<string>>): string[] {
  const done = new Set<string>()
  const cycles: string[] = []
  const visit = (node: string, path: string[]) => {
    if (path.includes(node)) cycles.push([...path.slice(path.indexOf(node)), node].join(' -> '))
    if (path.includes(node) || done.has(node)) return
    for (const target of graph.get(node) ?? []) visit(target, [...path, node])
    done.add(node)
  }
  for (const node of graph.keys()) visit(node, [])
  return cycles
}

t.test('only one getter reads the address of a connection or of a proxy', async t => {
  // The `clientAddress` of a request is parsed and has one spelling.
  const raw =
    /\bremoteAddress\b|\bx-forwarded-for\b|\brequest\.ips?\b|\bthis\.ips?\b|\{[^{}]*\bips?\b[^{}]*\}: (?:Pick<)?FastifyRequest/
  t.strictSame(
    [...sources.values()]
      .filter(({ file, text }) => !file.startsWith('src/database/') && raw.test(text))
      .map(({ file }) => file),
    ['src/connections/http-connections.ts', 'plugins/admin-auth.ts', 'plugins/request.ts'],
    'admin-auth.ts only warns of headers that are ignored, and http-connections.ts counts connections, not clients'
  )
})

/** The module of `src/` that owns each table: its files alone may name the table in a statement. */
const tableOwners: Record<string, string> = {
  schema_version: 'database',
  replicas: 'replicas',
  users: 'auth',
  sessions: 'auth',
  api_tokens: 'auth',
  sign_in_limits: 'auth',
  sign_in_networks: 'auth',
  audit_log: 'auth',
  scheduler_state: 'scheduler',
  scheduled_jobs: 'scheduler',
  job_runs: 'scheduler',
  accounts: 'accounts',
  account_failures: 'accounts',
  balance_readings: 'trading',
  ledger_entries: 'trading',
  ledger_readings: 'trading',
  book_totals: 'trading',
  book_checks: 'trading',
  book_differences: 'trading',
  position_adjustments: 'trading',
  instruments: 'exchanges',
  invalid_rows: 'exchanges',
  strategies: 'trading',
  strategy_accounts: 'trading',
  strategy_capital: 'trading',
  fill_readings: 'trading',
  fill_symbols: 'trading',
  orders: 'trading',
  trade_executions: 'trading',
  replaced_executions: 'trading',
  funding_shares: 'trading',
  funding_progress: 'trading',
  strategy_positions: 'trading',
  account_balances: 'trading',
  account_balance_history: 'trading',
  equity_history: 'trading',
  daily_account_summaries: 'trading',
  strategy_performance: 'trading',
  performance_progress: 'trading',
  cache_commands: 'cache',
  cache_command_results: 'cache',
  outbox: 'notifications',
  quiet_window: 'notifications',
  quiet_notices: 'notifications',
  heartbeat: 'heartbeat',
  telegram_polling: 'telegram-commands',
  telegram_updates: 'telegram-commands',
  telegram_confirmations: 'telegram-commands',
  health_periods: 'health',
  exchange_bans: 'exchange-bans',
  alerts: 'alerts',
  alert_progress: 'alerts'
}

/** The words of SQL before the name of a table. */
const TABLE_REFERENCE =
  /\b(?:from|join|into|update|using|table|truncate|only)\s+("?\w+"?(?:(?:\s+(?:as\s+)?\w+)?\s*,\s*"?\w+"?)*)/gi
const COMMENT = /\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*$|--.*$/gm

/** The tables that the statements of a file name. */
function tablesIn(text: string): string[] {
  const names = [...text.replace(COMMENT, '').matchAll(TABLE_REFERENCE)].flatMap(([, list = '']) =>
    list.split(',').map(table => /\w+/.exec(table)?.[0].toLowerCase() ?? '')
  )
  return [...new Set(names)].filter(name => name in tableOwners)
}

t.test('each table has one owner, and only its files name the table in statements', async t => {
  t.strictSame(
    LOCK_ORDER.flatMap(({ tables }) => tables).sort(),
    Object.keys(tableOwners).sort(),
    'every table of the schema has an owner'
  )
  const references = [...sources.keys()].flatMap(file =>
    tablesIn(readFileSync(join(projectRoot, file), 'utf8')).map(table => ({ file, table }))
  )
  t.strictSame(
    Object.keys(tableOwners).filter(table => !references.some(reference => reference.table === table)),
    [],
    'all statements are found'
  )
  t.strictSame(
    references
      .filter(({ file, table }) => !file.startsWith(`src/${tableOwners[table]}/`))
      .map(({ file, table }) => `${file} names ${table}`),
    []
  )
})

t.test('tables are found in statements and not in comments', async t => {
  t.strictSame(tablesIn('sql`delete from  orders using strategies where true`'), ['orders', 'strategies'])
  t.strictSame(tablesIn('sql`insert into users as u select from accounts a\n join "outbox" using (id)`'), [
    'users',
    'accounts',
    'outbox'
  ])
  t.strictSame(tablesIn('sql`select from orders o, "users", accounts as a where true`'), [
    'orders',
    'users',
    'accounts'
  ])
  t.strictSame(tablesIn('/** reads from users */\n// writes into outbox\nsql`select 1 -- from orders\n`'), [])
})
