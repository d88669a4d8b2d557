import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { configSchema } from '../../src/config.ts'
import { projectRoot } from '../support/service.ts'
import { missingTool } from '../support/tools.ts'

const file = join(projectRoot, 'deploy/haproxy/haproxy.cfg')

t.test('HAProxy takes its file, without a warning', { skip: missingTool('haproxy', 'haproxy') }, async t => {
  const { status, stdout, stderr } = spawnSync('haproxy', ['-c', '-f', file], { encoding: 'utf8' })
  t.equal(status, 0, stdout + stderr)
  t.notMatch(stdout + stderr, /warning/i)
})

t.test('it asks the probe port whether a replica is ready, and sends clients to the main port', async t => {
  const text = readFileSync(file, 'utf8')
  const { PORT, PROBE_PORT } = configSchema.properties
  t.match(text, 'option httpchk GET /health/ready')
  t.match(text, `check port ${PROBE_PORT.default} `)
  t.match(text, `trading-health:${PORT.default}\n`)
})
