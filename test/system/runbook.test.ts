// The lines of the runbook, as an operator types them.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { untilStatus } from '../support/app.ts'
import { startBotApiServer } from '../support/bot-api-server.ts'
import { runCommand } from '../support/command.ts'
import { createTestDatabase } from '../support/database.ts'
import { projectRoot, startService } from '../support/service.ts'

const PASSWORD = 'correct horse battery'
const noHttpie = spawnSync('http', ['--version']).error && 'HTTPie is not installed (Debian package httpie)'
const runbook = readFileSync(join(projectRoot, 'docs/operations.md'), 'utf8')

t.test('every alert has its chapter, and every chapter its alert', async t => {
  const rules = readFileSync(join(projectRoot, 'deploy/prometheus/alerts.yaml'), 'utf8')
  const alerts = [...rules.matchAll(/^ +- alert: (\w+)$/gm)].map(([, name]) => name)
  const chapters = [...runbook.matchAll(/^### (\w+)$/gm)].map(([, name]) => name)
  t.ok(alerts.length > 20, `${alerts.length} alerts`)
  t.strictSame(chapters.sort(), alerts.sort())
})

t.test('every line works against a running service', { skip: noHttpie ?? false }, async t => {
  const { url } = await createTestDatabase(t)
  const bot = await startBotApiServer()
  t.teardown(() => bot.close())
  const service = await startService(t, {
    DATABASE_URL: url,
    TELEGRAM_API_URL: bot.url,
    TELEGRAM_BOT_TOKEN: bot.token,
    TELEGRAM_CHAT_ID: '42'
  })
  await untilStatus(`${service.main}/health/startup`, 200)
  t.hasStrict(await runCommand({ DATABASE_URL: url }, [PASSWORD], 'user:create', 'ops', '--admin'), { code: 0 })
  const home = t.testdir()
  const lines = [...runbook.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].flatMap(([, block = '']) => block.trim().split('\n'))
  t.ok(lines.length > 20, `${lines.length} lines`)
  for (const line of lines) {
    const here = line
      .replace(/^http /, 'http --ignore-stdin --check-status ')
      .replaceAll(':5001', service.main.replace('http://', ''))
      .replaceAll(':5002', service.probes.replace('http://', ''))
    const environment = [`PATH=${process.env.PATH}`, `HOME=${home}`, `PASSWORD=${PASSWORD}`]
    const child = spawn('env', ['-i', ...environment, 'sh', '-c', here], { stdio: 'ignore' })
    const [code] = await once(child, 'exit')
    t.equal(code, 0, line)
  }

  const { code, stdout, stderr } = await runCommand({}, [PASSWORD], 'status', 'ops', '--url', service.main)
  t.equal(code, 0, stderr)
  t.match(
    stdout,
    /^replicas\n[\s\S]*^checks\n {2}name[\s\S]* database +ok[\s\S]*^jobs\n[\s\S]* housekeeping [\s\S]*^caches\n/m
  )
  t.match(await runCommand({}, ['wrong password'], 'status', 'ops', '--url', service.main), { code: 1, stderr: /401/ })
  t.hasStrict(await runCommand({}, [PASSWORD], 'status', 'ops', '--url', 'http://example.com'), { code: 2 })
})
