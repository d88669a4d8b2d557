// Every command line of the README, of SECURITY.md and of docs/ is executed, or is listed here with the reason why it is not.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, readdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { loadConfig } from '../../src/config.ts'
import { ENCRYPTION_KEY, SESSION_SECRET, untilStatus } from '../support/app.ts'
import { startBotApiServer } from '../support/bot-api-server.ts'
import { runCommand } from '../support/command.ts'
import { createTestDatabase } from '../support/database.ts'
import { commandBlocks } from '../support/document-commands.ts'
import { projectRoot, startService } from '../support/service.ts'
import { SimulatedExchange } from '../support/simulated-exchange/simulated-exchange.ts'
import { missingTool } from '../support/tools.ts'

/** Lines that are not executed, and why. */
const NOT_RUN: readonly (readonly [line: RegExp, reason: string])[] = [
  [/^npm ci/, 'it installs from the registry; the scripts that follow it are run by other lines and tests'],
  [/^npm run build$/, 'every run of the tests begins with it'],
  [/^npm run demo$/, 'demo.test.ts runs it'],
  [/^npm run bench:/, 'it measures for minutes, on a quiet machine'],
  [/^npm run admin$/, 'without a command it prints its help: command-line.test.ts'],
  [/ COMMAND$/, 'COMMAND is a placeholder'],
  [/ account:test NUMBER$/, 'NUMBER is a placeholder; docs/accounts.md has the command with a number'],
  [/ user:disable NAME$/, 'NAME is a placeholder; docs/accounts.md has the command with a name'],
  [/ user:password NAME$/, 'NAME is a placeholder; docs/accounts.md has the command with a name'],
  [
    /^psql .*(roles\.sql|\\password)/,
    'the file makes roles of the whole server, with passwords; roles.test.ts runs it'
  ],
  [/^(pg_dump|psql) |^ln -s 'sockets,'|^mv data\/postgres /, 'Debian has no pg_dump for the embedded Postgres 18'],
  [/ books:adjust /, 'it needs a difference; book-adjustment.test.ts makes one'],
  [/^docker /, 'it needs a container engine'],
  [/^kubectl apply /, 'it needs a cluster; kubernetes.test.ts builds what it applies'],
  [/^kubectl .* (exec|rollout) /, 'it needs a cluster'],
  [/^systemctl /, 'it needs systemd as process 1; systemd.test.ts verifies the unit'],
  [/^systemd-run /, 'it needs systemd as process 1']
]
const reasonOf = (line: string) => NOT_RUN.find(([pattern]) => pattern.test(line))?.[1]

const PASSWORD = 'battery horse staple'
const NEW_PASSWORD = 'correct horse battery'
const DEBIAN_PACKAGES: Record<string, string> = {
  http: 'httpie',
  curl: 'curl',
  kubectl: 'kubernetes-client',
  promtool: 'prometheus',
  openssl: 'openssl'
}

/** These commands read a password or the secrets of an account, here from a pipe. */
const ASKS = /^(npm run admin --|node dist\/src\/cli\.js) (user:create|user:password|status|account:add) /
/** These commands need a running service. */
const NEEDS_SERVICE = /:5001|:5002|:9464| status /
const NONE = { main: 'http://none', probes: 'http://none', metrics: 'http://none' }
/** These commands run until they are stopped. */
const IS_SERVICE = /^(npm start|node .*dist\/src\/server\.js)$/
const PRELUDE = `
ask() { printf '%s\\n' "$ANSWERS" | "$@"; }
serve() {
  PORT=0 PROBE_PORT=0 METRICS_PORT=off "$@" > service.log &
  until grep -q '"msg":"listening"' service.log; do kill -0 $!; sleep 0.1; done
  kill $!
  wait $! || test $? = 143
}
set -ex
`

const blocks = commandBlocks()

t.test('command lines are found, and every listed exception exists', async t => {
  const lines = blocks.flatMap(({ lines }) => lines)
  t.ok(lines.length > 100, `lines: ${lines.length}`)
  t.strictSame(
    NOT_RUN.filter(([pattern]) => !lines.some(line => pattern.test(line))),
    []
  )
  const skipped = lines.filter(line => reasonOf(line) !== undefined)
  t.ok(skipped.length < lines.length / 3, `lines that are not executed: ${skipped.length}`)
})

for (const file of new Set(blocks.map(({ file }) => file))) {
  const own = blocks
    .filter(block => block.file === file)
    .map(({ lines }) => lines.filter(line => reasonOf(line) === undefined))
    .filter(lines => lines.length > 0)
  if (own.length === 0) continue
  t.test(`the command lines of ${file} work`, async t => {
    const reader = await Reader.start(t, file, own.flat())
    for (const lines of own) await reader.follow(t, lines)
    if (file === 'docs/deployment.md') reader.checkSecrets(t)
  })
}

/** Executes the lines of one document, next to a running service. */
class Reader {
  readonly #directory: string
  readonly #environment: Record<string, string>
  readonly #replacements: readonly (readonly [RegExp, string])[]
  #password = PASSWORD

  private constructor(
    directory: string,
    environment: Record<string, string>,
    replacements: readonly (readonly [RegExp, string])[]
  ) {
    this.#directory = directory
    this.#environment = environment
    this.#replacements = replacements
  }

  static async start(t: Test, file: string, lines: readonly string[]): Promise<Reader> {
    const { url } = await createTestDatabase(t)
    const { url: otherUrl } = await createTestDatabase(t)
    const bot = await startBotApiServer({ chats: ['42'] })
    const exchange = await SimulatedExchange.start({ exchange: 'BINANCE' })
    t.teardown(() => Promise.all([bot.close(), exchange.close()]))
    const account = { apiKey: 'key-of-the-documents', apiSecret: 'secret-of-the-documents' }
    exchange.addAccount(account)
    const settings = {
      ...{ DATABASE_URL: url, ...exchange.urls, DRAIN_SECONDS: '0', SESSION_SECRET, ENCRYPTION_KEY },
      ...{ TELEGRAM_API_URL: bot.url, TELEGRAM_BOT_TOKEN: bot.token, TELEGRAM_CHAT_ID: '42' }
    }
    const { main, probes, metrics } = lines.some(line => NEEDS_SERVICE.test(line)) ? await addresses(t, settings) : NONE
    // docs/accounts.md creates this user itself.
    if (file !== 'docs/accounts.md') await runCommand(settings, [PASSWORD], 'user:create', 'ops', '--admin')
    // The first start on an embedded database creates this user.
    if (file === 'docs/deployment.md') await runCommand(settings, [PASSWORD], 'user:create', 'admin', '--admin')
    const directory = projectCopy(t)
    const runs = `${main}/api/system/job-runs`
    const host = (address: string) => new URL(address).host
    const replacements: [RegExp, string][] = [
      [/(?<![\w.])(localhost|127\.0\.0\.1)?:5001\b/g, host(main)],
      [/(?<![\w.]):5002\b/g, host(probes)],
      [/(?<![\w.]):9464\b/g, host(metrics)],
      [/\bhttp (?=-|[A-Z]+ |127)/g, 'http --ignore-stdin --check-status '],
      [/'postgres:\/\/(…|user:password@localhost\/trading)'/g, `'${otherUrl}'`],
      [/(?<=password(=|":)['"])…/g, PASSWORD],
      // An id in the document is replaced by that of the newest run.
      [
        /[0-9a-f]{8}-[0-9a-f-]{27}/g,
        `$(http --ignore-stdin --session=ops ${runs} limit==1 | sed 's/.*"run_id":"\\([^"]*\\)".*/\\1/')`
      ],
      [/\/etc\/trading-health/g, join(directory, 'etc')],
      [/^kubectl.* create .*/g, '$& --dry-run=client --output=name']
    ]
    const environment = {
      ...settings,
      ...{ PATH: process.env.PATH ?? '', HOME: directory, PORT: new URL(main).port, PASSWORD },
      // npm would request newer versions of itself from its registry.
      npm_config_update_notifier: 'false',
      ANSWERS: `${account.apiKey}\n${account.apiSecret}`
    }
    return new Reader(directory, environment, replacements)
  }

  /** Runs the lines of a block in one shell, as a separate test. */
  async follow(t: Test, lines: readonly string[]): Promise<void> {
    const missing = Object.entries(DEBIAN_PACKAGES)
      .filter(([tool]) => lines.some(line => new RegExp(`(^|[|(] ?)${tool} `).test(line)))
      .map(([tool, name]) => missingTool(tool, name))
      .find(reason => reason !== false)
    await t.test(lines[0] ?? '', { skip: missing ?? false }, async t => {
      const { code, output } = await this.#run(lines.map(line => this.#adapt(line)))
      t.equal(code, 0, output)
    })
    if (lines.some(line => line.includes('/api/auth/password'))) this.#password = NEW_PASSWORD
    if (lines.some(line => /\/api\/auth\/(password|logout)/.test(line))) await this.#signIn(t)
  }

  /** Asserts that the service accepts the files of secrets that the lines created. */
  checkSecrets(t: Test): void {
    for (const folder of ['deploy/secrets', 'etc']) {
      const file = (name: string) => join(this.#directory, folder, name)
      const { SESSION_SECRET, ENCRYPTION_KEY } = loadConfig({
        DATABASE_URL_FILE: file('database-url'),
        SESSION_SECRET_FILE: file('session-secret'),
        ENCRYPTION_KEY_FILE: file('encryption-key')
      })
      t.strictSame([SESSION_SECRET?.length, ENCRYPTION_KEY?.length], [64, 44], folder)
    }
  }

  async #signIn(t: Test): Promise<void> {
    if (missingTool('http', 'httpie') !== false) return
    const line = `http --session=ops :5001/api/auth/login username=ops password='${this.#password}'`
    const { code, output } = await this.#run([this.#adapt(line)])
    t.equal(code, 0, output)
  }

  #adapt(line: string): string {
    const command = line.replace(/\s+#.*$/, '')
    const adapted = this.#replacements.reduce((text, [pattern, by]) => text.replace(pattern, by), command)
    if (IS_SERVICE.test(command)) return `serve ${adapted}`
    if (!ASKS.test(command)) return adapted
    return command.includes('account:add') ? `ask ${adapted}` : `ANSWERS="$PASSWORD" ask ${adapted}`
  }

  async #run(lines: string[]): Promise<{ code: unknown; output: string }> {
    const child = spawn('env', ['-i', ...entriesOf(this.#environment), 'sh', '-c', PRELUDE + lines.join('\n')], {
      cwd: this.#directory,
      stdio: ['ignore', 'pipe', 'pipe']
    })
    const [out, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')])
    return { code, output: errors + out }
  }
}

/** Starts a service. @returns the addresses of its ports */
async function addresses(t: Test, settings: Record<string, string>): Promise<typeof NONE> {
  const service = await startService(t, { ...settings, METRICS_PORT: '0' })
  await untilStatus(`${service.main}/health/startup`, 200)
  const { metrics } = await service.logged('listening')
  return { main: service.main, probes: service.probes, metrics: String(metrics) }
}

function entriesOf(environment: Record<string, string>): string[] {
  return Object.entries(environment).map(([key, value]) => `${key}=${value}`)
}

/** A folder in which the lines run as in the project, and may write. */
function projectCopy(t: Test): string {
  const directory = t.testdir()
  for (const name of readdirSync(projectRoot)) {
    if (name === 'deploy' || name === 'data' || name.startsWith('.')) continue
    symlinkSync(join(projectRoot, name), join(directory, name))
  }
  cpSync(join(projectRoot, 'deploy'), join(directory, 'deploy'), { recursive: true })
  return directory
}
