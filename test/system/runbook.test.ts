// The runbook has a section for each alert. documents.test.ts executes its lines.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { untilStatus } from '../support/app.ts'
import { runCommand } from '../support/command.ts'
import { createTestDatabase } from '../support/database.ts'
import { projectRoot, startService } from '../support/service.ts'

const PASSWORD = 'correct horse battery'
const runbook = readFileSync(join(projectRoot, 'docs/operations.md'), 'utf8')

t.test('every alert has its section, and every section its alert', async t => {
  const rules = readFileSync(join(projectRoot, 'deploy/prometheus/alerts.yaml'), 'utf8')
  const alerts = [...rules.matchAll(/^ +- alert: (\w+)$/gm)].map(([, name]) => name)
  const sections = [...runbook.matchAll(/^### (\w+)$/gm)].map(([, name]) => name)
  t.ok(alerts.length > 20, `${alerts.length} alerts`)
  t.strictSame(sections.sort(), alerts.sort())
})

t.test('the state of the service is shown in a terminal', async t => {
  const { url } = await createTestDatabase(t)
  const service = await startService(t, { DATABASE_URL: url })
  await untilStatus(`${service.main}/health/startup`, 200)
  t.hasStrict(await runCommand({ DATABASE_URL: url }, [PASSWORD], 'user:create', 'ops', '--admin'), { code: 0 })
  const { code, stdout, stderr } = await runCommand({}, [PASSWORD], 'status', 'ops', '--url', service.main)
  t.equal(code, 0, stderr)
  t.match(
    stdout,
    /^replicas\n[\s\S]*^checks\n {2}name[\s\S]* database +ok[\s\S]*^jobs\n[\s\S]* housekeeping [\s\S]*^caches\n/m
  )
  t.match(await runCommand({}, ['wrong password'], 'status', 'ops', '--url', service.main), { code: 1, stderr: /401/ })
  t.hasStrict(await runCommand({}, [PASSWORD], 'status', 'ops', '--url', 'http://example.com'), { code: 2 })
})
