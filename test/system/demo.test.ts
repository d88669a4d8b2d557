// The demo, and the command lines that it prints.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { spawnNode } from '../support/node-process.ts'
import { projectRoot } from '../support/service.ts'
import { missingTool } from '../support/tools.ts'

const JOBS = [
  ...['update_orders', 'calculate_pnl', 'daily_summary', 'calculate_performance'],
  ...['sync_balances', 'sync_ledger', 'reconcile_books', 'update_prices', 'housekeeping']
]
const DEFAULT_PORTS = [5001, 5002, 9464]
const PROGRESS = [
  'Starting five simulated exchanges and a simulated Telegram.',
  'Starting the service with a new database.',
  'Creating a user, five accounts and two weeks of trades.',
  'Running the jobs, which compares the books three times.'
]

/** Another service on the address, which answers every probe. A port that is already in use has the same effect. */
async function otherService(t: Test, port: number): Promise<number> {
  const server = createServer((_request, response) => response.end('{"success":false}'))
  t.teardown(() => server.close())
  try {
    await once(server.listen(port, '127.0.0.1'), 'listening')
  } catch (err) {
    if (!String(err).includes('EADDRINUSE')) throw err
    return port
  }
  const address = server.address()
  return typeof address === 'object' && address ? address.port : port
}

function startDemo(t: Test, env: Record<string, string>): ChildProcess {
  const script = join(projectRoot, 'build/demo/index.js')
  const child = spawnNode(script, [], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  t.teardown(() => child.kill('SIGKILL'))
  return child
}

const skip = missingTool('http', 'httpie')

t.test('the demo runs next to other services, shows changing data, and removes all of its files', { skip }, async t => {
  for (const port of DEFAULT_PORTS) await otherService(t, port)
  const home = t.testdir()
  const child = startDemo(t, { HOME: home })
  const ended = once(child, 'exit')
  let said = ''
  let notify = () => {}
  child.stdout?.on('data', chunk => {
    said += chunk
    notify()
  })
  let errors = ''
  child.stderr?.on('data', chunk => {
    errors += chunk
  })
  const until = async (pattern: RegExp) => {
    for (;;) {
      const found = pattern.exec(said)
      if (found) return found
      const more = new Promise<void>(resolve => {
        notify = resolve
      })
      const over = await Promise.race([more, ended])
      if (over) throw new Error(`the demo has ended: ${said}${errors}`)
    }
  }
  const [query = '', socket = ''] = await until(/^ {2}psql -h (\S+) -U postgres\n/m)
  t.strictSame(said.split('\n').slice(0, PROGRESS.length), PROGRESS)
  t.equal(
    said.split('\n--- Telegram')[0]?.trimEnd().split('\n').at(-1),
    query.trimEnd(),
    'the last line is for a client'
  )

  const run = async (command: string) => {
    const child = spawn('env', ['-i', `PATH=${process.env.PATH}`, `HOME=${home}`, 'sh', '-c', command])
    const [answer, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')])
    return { answer, code }
  }
  const lines = said.split('\n').filter(line => line.startsWith('  http '))
  t.equal(lines.length, 7, 'the sign-in and six lines to try')
  const port = Number(/ :(\d+)\//.exec(lines[0] ?? '')?.[1])
  t.equal(DEFAULT_PORTS.includes(port), false, `a free port: ${port}`)
  for (const job of JOBS) lines.push(`http --session=demo :${port}/api/system/trigger-job job_type=${job}`)
  for (const line of lines) {
    const { answer, code } = await run(line.trim().replace(/^http /, 'http --ignore-stdin --check-status --body '))
    const { success, code: refusal } = JSON.parse(answer)
    // The schedule may run it at this moment.
    if (refusal === 'JOB_ALREADY_RUNNING') continue
    t.equal(code, 0, line)
    t.equal(success, true)
  }
  const noPsql = missingTool('psql', 'postgresql-client')
  await t.test('the printed line for the database works', { skip: noPsql }, async t => {
    const count = await run(`${query.trim()} --no-psqlrc -Atc 'select count(*) from accounts'`)
    t.strictSame(count, { answer: '5\n', code: 0 })
  })
  await t.test('the books show a liquidation, a withdrawal and an unexplained difference', async t => {
    const books = async () => {
      const { answer } = await run(`http --ignore-stdin --session=demo --body :${port}/api/system/health/details`)
      return JSON.parse(answer).checks.find(({ name }: { name: string }) => name === 'books')
    }
    // Each replica reads the differences every 30 s.
    while ((await books()).status !== 'degraded') await sleep(500)
    t.hasStrict(await books(), { status: 'degraded', code: 'unexplained' })
    const list = /^ {2}(DATA_DIR=.* books:list)$/m.exec(said)?.[1] ?? ''
    const { answer, code } = await run(list)
    t.equal(code, 0)
    const rows = answer.split('\n').filter(row => / yes( |$)/.test(row))
    const fields = rows[0]?.split(/ {2,}/) ?? []
    t.strictSame([rows.length, fields[1], fields[3]], [1, 'BITHUMB', 'SPOT KRW'])
    await until(/^• BITHUMB Bithumb demo SPOT KRW: -350000 /m)
    await until(/^계정: BYBIT Bybit demo\n체결: ETHUSDT 매도 4 @ 3150$/m)
    const count = async (query: string) => {
      const sql = `${socketQuery} --no-psqlrc -Atc "${query}"`
      return (await run(sql)).answer
    }
    const socketQuery = query.trim()
    await t.test('in the database', { skip: noPsql }, async t => {
      t.equal(
        await count("select amount from ledger_entries where kind = 'withdrawal' order by at limit 1"),
        '-5000000\n'
      )
      const forced =
        "select symbol, side, strategy_account_id is not null from orders where origin = 'forced' order by created_at limit 1"
      t.equal(await count(forced), 'ETHUSDT|SELL|t\n')
    })
  })
  await until(/^--- Telegram ---$/m)
  t.equal(errors, '', 'no run failed')

  child.kill('SIGINT')
  t.strictSame(await ended, [0, null])
  t.equal(existsSync(socket), false, 'the database is removed')
})

t.test('when its service ends, the demo prints the reason and exits with 1', async t => {
  const port = await otherService(t, 0)
  const child = startDemo(t, { PORT: String(port), PROBE_PORT: '0', METRICS_PORT: 'off' })
  const { stderr } = child
  if (!stderr) throw new Error('the demo has no output')
  const [errors, [code]] = await Promise.all([text(stderr), once(child, 'exit')])
  const reason = `start: PORT ${port} on 127.0.0.1 is in use: stop the process that uses it, or set another PORT`
  t.equal(errors, `The service ended with exit code 1.\n  ${reason}\n`)
  t.equal(code, 1)
})
