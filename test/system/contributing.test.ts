// Applies the examples of CONTRIBUTING.md to a copy of the project: it compiles, and the added tests pass.
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import t from 'tap'
import { projectRoot } from '../support/project.ts'

const COPIED = [
  'src',
  'plugins',
  'routes',
  'test',
  'bench',
  'demo',
  'scripts',
  'patches',
  'package.json',
  'package-lock.json',
  'tsconfig.json'
]
const TESTS = [
  'routes/documented',
  'jobs/count-sessions',
  'database/pool-check',
  'exchanges/adapters',
  'exchanges/own-payloads',
  'exchanges/money-fields'
]
/** The time limit of one test file, because other files may use the CPU at the same time. */
const TEST_MS = 240_000

const guide = readFileSync(join(projectRoot, 'CONTRIBUTING.md'), 'utf8')
/** Every code block of the guide, with the sentence before it. */
const blocks = [...guide.matchAll(/([^\n]*)\n+( *)```(?:ts|sql)\n([\s\S]*?)\n\2```/g)].map(
  ([, sentence = '', indent = '', code = '']) => ({ sentence, code: code.replaceAll(`\n${indent}`, '\n').trimStart() })
)

/** The only block whose sentence has this text. */
function blockAfter(text: string): string {
  const found = blocks.filter(({ sentence }) => sentence.includes(text))
  if (found.length !== 1) throw new Error(`${found.length} blocks after "${text}"`)
  return found[0]?.code ?? ''
}

/** The only code in a line of the guide that begins with `start`. */
function inlineCode(start: string): string {
  const found = [...guide.matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code).filter(code => code.startsWith(start))
  if (found.length !== 1) throw new Error(`${found.length} pieces of code begin with "${start}"`)
  return found[0] ?? ''
}

t.test('the examples work as they are written', async t => {
  const copy = mkdtempSync(join(tmpdir(), 'contributing-'))
  t.teardown(() => rmSync(copy, { recursive: true, force: true }))
  for (const name of COPIED) cpSync(join(projectRoot, name), join(copy, name), { recursive: true })
  symlinkSync(join(projectRoot, 'node_modules'), join(copy, 'node_modules'))

  const write = (file: string, code: string) => {
    mkdirSync(dirname(join(copy, file)), { recursive: true })
    writeFileSync(join(copy, file), `${code}\n`)
  }
  /** Inserts code before, or after, a text of the file. */
  const insert = (file: string, where: { before: string } | { after: string }, code: string) => {
    const [text, order] = 'before' in where ? [where.before, [code, where.before]] : [where.after, [where.after, code]]
    const content = readFileSync(join(copy, file), 'utf8')
    if (!content.includes(text)) throw new Error(`${file} has no "${text}"`)
    writeFileSync(
      join(copy, file),
      content.replace(text, () => order.join('\n'))
    )
  }

  write('routes/system/version.ts', blockAfter('`routes/system/version.ts`'))
  insert('routes/system/index.ts', { before: 'import auditRoutes' }, inlineCode('import versionRoutes'))
  insert(
    'routes/system/index.ts',
    { before: '  system.register(auditRoutes)' },
    inlineCode('system.register(versionRoutes')
  )
  const line = "  await ask(t, admin, 'GET /api/system/health/details'"
  insert('test/routes/documented.test.ts', { before: line }, blockAfter('`test/routes/documented.test.ts`'))

  write('src/jobs/count-sessions.ts', blockAfter('`src/jobs/count-sessions.ts`'))
  insert(
    'src/jobs/index.ts',
    { before: 'import { housekeeping }' },
    "import { countSessions } from './count-sessions.ts'"
  )
  insert('src/jobs/index.ts', { after: '  return [' }, `${blockAfter('`src/jobs/index.ts`')},`)
  write('test/jobs/count-sessions.test.ts', blockAfter('`test/jobs/count-sessions.test.ts`'))

  write('src/database/pool-check.ts', blockAfter('`src/database/pool-check.ts`'))
  insert('plugins/scheduler.ts', { before: 'import ' }, "import { poolDetails } from '../src/database/pool-check.ts'")
  insert('plugins/scheduler.ts', { before: '  app.healthChecks.push' }, inlineCode('app.healthChecks.push'))
  write('test/database/pool-check.test.ts', blockAfter('`test/database/pool-check.test.ts`'))

  write('src/exchanges/adapters/coinlist.ts', blockAfter('`src/exchanges/adapters/coinlist.ts`'))
  insert('src/domain/market.ts', { after: 'EXCHANGE_NAMES = [' }, "'COINLIST',")
  insert('src/exchanges/url-settings.ts', { after: 'URL_SETTINGS = [' }, "'COINLIST_URL',")
  insert('src/config.ts', { before: '  BITHUMB_URL: ' }, `${inlineCode('COINLIST_URL: ')},`)
  const client = "import { CoinlistClient } from './adapters/coinlist.ts'"
  insert('src/exchanges/catalogue.ts', { before: 'import { BinanceClient }' }, client)
  insert('src/exchanges/catalogue.ts', { before: '  BINANCE: {' }, `${blockAfter('in the catalogue')},`)
  insert('src/cache/price-cache.ts', { before: '    BINANCE: {},' }, `${inlineCode('COINLIST: {}')},`)
  insert('bench/account-capacity.ts', { before: "  BINANCE: '[]'," }, `${inlineCode("COINLIST: '")},`)
  insert('test/support/books-simulation.ts', { before: '  BINANCE: [' }, `${inlineCode('COINLIST: [')},`)
  const money = 'src/exchanges/adapters/money-fields.ts'
  insert(money, { before: '  UPBIT: tokenNumbers' }, `${inlineCode('COINLIST: tokenNumbers')},`)
  write('src/database/migrations/999.do.coinlist.sql', blockAfter('`NNN.do.coinlist.sql`'))
  const simulated = 'test/support/simulated-exchange'
  insert(
    `${simulated}/token.ts`,
    { before: 'function common(' },
    blockAfter('`test/support/simulated-exchange/token.ts`')
  )
  insert(`${simulated}/simulated-exchange.ts`, { before: 'import ' }, "import { coinlist } from './token.ts'")
  insert(
    `${simulated}/simulated-exchange.ts`,
    { after: 'DIALECTS: Readonly<Record<ExchangeName, SimulatedDialect>> = {' },
    `${inlineCode('COINLIST: coinlist')},`
  )

  write('test/exchanges/payloads/coinlist.ts', blockAfter('`test/exchanges/payloads/coinlist.ts`'))
  const payloads = 'test/exchanges/payloads/index.ts'
  insert(payloads, { before: 'import { okx }' }, "import { coinlist } from './coinlist.ts'")
  insert(payloads, { after: '> = {' }, `${inlineCode('COINLIST: coinlist')},`)

  // Through env(1): tap adds its loader to the environment of every Node process that a test starts.
  const environment = [`PATH=${process.env.PATH}`, `TAP_TIMEOUT=${TEST_MS / 1_000}`]
  const run = (...words: string[]) =>
    spawnSync('env', ['-i', ...environment, process.execPath, ...words], {
      cwd: copy,
      encoding: 'utf8',
      timeout: TEST_MS
    })
  const built = run('scripts/build-tests.js')
  if (!t.equal(built.status, 0, built.stdout + built.stderr)) return
  for (const name of TESTS) {
    const { status, stdout, stderr } = run(`build/test/${name}.test.js`)
    t.equal(status, 0, `${name}: ${/^ *not ok[\s\S]{0,2000}/m.exec(stdout)?.[0] ?? stderr}`)
  }
})
