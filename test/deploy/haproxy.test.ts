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
  const found = (pattern: RegExp) => [...text.matchAll(pattern)].map(([, value]) => value)
  t.strictSame(found(/^\s*option httpchk GET (.*)$/gm), ['/health/ready'])
  t.strictSame(found(/check port (\d+)/g), [String(PROBE_PORT.default)])
  t.strictSame(found(/trading-health:(\d+)$/gm), [String(PORT.default)])
})
