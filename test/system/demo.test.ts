// The demo, with the lines that it prints, as a newcomer tries it.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { freePort } from '../support/free-port.ts'
import { spawnNode } from '../support/node-process.ts'
import { projectRoot } from '../support/service.ts'

const noHttpie = spawnSync('http', ['--version']).error && 'HTTPie is not installed (Debian package httpie)'

const JOBS = [
  ...['update_orders', 'calculate_pnl', 'daily_summary', 'calculate_performance'],
  ...['sync_balances', 'update_prices', 'housekeeping']
]

t.test('the demo shows living data, and leaves nothing behind', { skip: noHttpie ?? false }, async t => {
  const home = t.testdir()
  const env = { PORT: String(await freePort()), PROBE_PORT: '0', METRICS_PORT: 'off', HOME: home }
  const child = spawnNode(join(projectRoot, 'build/demo/index.js'), [], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  t.teardown(() => child.kill('SIGKILL'))
  const ended = once(child, 'exit')
  let said = ''
  let told = () => {}
  child.stdout?.on('data', chunk => {
    said += chunk
    told()
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
        told = resolve
      })
      const over = await Promise.race([more, ended])
      if (over) throw new Error(`the demo has ended: ${said}${errors}`)
    }
  }
  const [, dataDir = ''] = await until(/^The database: (\S+);/m)

  const lines = said.split('\n').filter(line => line.startsWith('  http '))
  t.equal(lines.length, 6, 'the sign-in and five lines to try')
  const path = `:${env.PORT}/api/system/trigger-job`
  for (const job of JOBS) lines.push(`http --session=demo ${path} job_type=${job}`)
  for (const line of lines) {
    const command = line.trim().replace(/^http /, 'http --ignore-stdin --check-status --body ')
    const http = spawn('env', ['-i', `PATH=${process.env.PATH}`, `HOME=${home}`, 'sh', '-c', command])
    const [answer, [code]] = await Promise.all([text(http.stdout), once(http, 'exit')])
    const { success, code: refusal } = JSON.parse(answer)
    // The clock may just be at it.
    if (refusal === 'JOB_ALREADY_RUNNING') continue
    t.equal(code, 0, line)
    t.equal(success, true)
  }
  await until(/^--- Telegram ---$/m)
  t.equal(errors, '', 'nothing goes wrong in it')

  child.kill('SIGINT')
  await ended
  t.notOk(existsSync(dataDir), 'its database is gone')
})
