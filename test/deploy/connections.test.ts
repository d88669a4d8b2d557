// The limits of connections and of open files in the deployment files are consistent.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import t from 'tap'
import { parse } from 'yaml'
import { loadConfig } from '../../src/config.ts'
import { connectionLimit } from '../../src/connections/connection-limit.ts'
import { projectRoot } from '../support/project.ts'

const read = (file: string) => readFileSync(join(projectRoot, 'deploy', file), 'utf8')
const config = loadConfig({})
const { max } = connectionLimit(config, Number.MAX_SAFE_INTEGER)

t.test('the open files that systemd and Compose allow do not lower the maximum of connections', async t => {
  const [, systemd] = /^LimitNOFILE=(\d+)$/m.exec(read('systemd/trading-health.service')) ?? []
  const { nofile } = parse(read('compose.yaml')).services['trading-health'].ulimits
  t.equal(nofile.soft, nofile.hard)
  for (const openFiles of [Number(systemd), nofile.hard]) t.equal(connectionLimit(config, openFiles).max, max)
})

t.test('the number of open files in the comments is the lowest that is enough', async t => {
  const files = ['systemd/trading-health.service', 'compose.yaml', 'kubernetes/settings.env']
  for (const file of files) t.match(read(file), / 3276\b/, file)
  t.equal(connectionLimit(config, 3_276).max, max)
  t.equal(connectionLimit(config, 3_275).max, max - 1)
})

t.test('the manifests set the maximum of the default', async t => {
  const { MAX_CONNECTIONS } = parseEnv(read('kubernetes/settings.env'))
  t.equal(MAX_CONNECTIONS, String(max))
})

t.test('HAProxy opens fewer connections to a replica than it accepts', async t => {
  const [, maxconn] = /^\s*default-server maxconn (\d+) /m.exec(read('haproxy/haproxy.cfg')) ?? []
  t.ok(Number(maxconn) < max, `${maxconn}, fewer than ${max}`)
})

t.test('docs/deployment.md has the maximum for some limits of open files', async t => {
  const document = readFileSync(join(projectRoot, 'docs/deployment.md'), 'utf8')
  const rows = [...document.matchAll(/^\| (\d+) \| (\d+) \| (\d+) \|$/gm)].map(row => row.slice(1).map(Number))
  t.equal(rows.length, 3)
  for (const [openFiles = 0, reserved, connections] of rows) {
    const limit = connectionLimit(config, openFiles)
    t.strictSame([reserved, connections], [limit.reserved, limit.max], String(openFiles))
  }
})
