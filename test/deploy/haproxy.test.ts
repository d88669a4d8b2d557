import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { configSchema } from '../../src/config.ts'
import { startApp } from '../support/app.ts'
import { projectRoot } from '../support/service.ts'
import { missingTool } from '../support/tools.ts'

const file = join(projectRoot, 'deploy/haproxy/haproxy.cfg')

t.test('HAProxy accepts haproxy.cfg without a warning', { skip: missingTool('haproxy', 'haproxy') }, async t => {
  const { status, stdout, stderr } = spawnSync('haproxy', ['-c', '-f', file], { encoding: 'utf8' })
  t.equal(status, 0, stdout + stderr)
  t.notMatch(stdout + stderr, /warning/i)
})

t.test('HAProxy checks readiness on the probe port, and sends clients to the main port', async t => {
  const text = readFileSync(file, 'utf8')
  const { PORT, PROBE_PORT } = configSchema.properties
  const found = (pattern: RegExp) => [...text.matchAll(pattern)].map(([, value]) => value)
  t.strictSame(found(/^\s*option httpchk GET (.*)$/gm), ['/health/ready'])
  t.strictSame(found(/check port (\d+)/g), [String(PROBE_PORT.default)])
  t.strictSame(found(/trading-health:(\d+)$/gm), [String(PORT.default)])
})

/** The result of HAProxy's last check of each server, by the name of the server. */
async function checkResults(socket: string): Promise<Record<string, string>> {
  const asked = connect(socket)
  asked.end('show stat\n')
  const [header = '', ...rows] = (await text(asked)).trim().split('\n')
  const column = header.split(',').indexOf('check_status')
  const servers = rows.map(row => row.split(',')).filter(fields => !['FRONTEND', 'BACKEND'].includes(fields[1] ?? ''))
  return Object.fromEntries(servers.map(fields => [fields[1], fields[column] ?? '']))
}

t.test(
  'HAProxy checks either port as documented; a bare `option httpchk` fails',
  { skip: missingTool('haproxy', 'haproxy') },
  async t => {
    const { url, probeUrl } = await startApp(t, { DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none' })
    const directory = mkdtempSync(join(tmpdir(), 'haproxy-'))
    t.teardown(() => rmSync(directory, { recursive: true }))
    const socket = join(directory, 'stats')
    const checks: Record<string, string> = {
      get: 'option httpchk GET /health/live',
      options: 'option httpchk OPTIONS /health/live',
      absolute: 'option httpchk GET http://service.example/health/live HTTP/1.1\\r\\nHost:\\ service.example',
      ready: 'option httpchk GET /health/ready',
      bare: 'option httpchk'
    }
    const backends = Object.entries(checks).flatMap(([name, check]) =>
      [url, probeUrl].map((base, index) => {
        const server = `${name}-${index === 0 ? 'main' : 'probe'}`
        return `backend ${server}\n  ${check}\n  server ${server} ${new URL(base).host} check inter 200ms\n`
      })
    )
    const config = join(directory, 'haproxy.cfg')
    const timeouts = 'timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n  timeout check 5s'
    writeFileSync(
      config,
      `global\n  stats socket ${socket}\ndefaults\n  mode http\n  ${timeouts}\n${backends.join('')}`
    )
    const haproxy = spawn('haproxy', ['-f', config, '-db'], { stdio: 'ignore' })
    const ended = once(haproxy, 'exit')
    t.teardown(async () => {
      haproxy.kill('SIGKILL')
      await ended
    })

    let results: Record<string, string> = {}
    // Until every server has been checked.
    while (Object.values(results).filter(result => /^L7/.test(result)).length < backends.length) {
      await delay(50)
      results = await checkResults(socket).catch(() => ({}))
    }
    t.strictSame(results, {
      'get-main': 'L7OK',
      'get-probe': 'L7OK',
      'options-main': 'L7OK',
      'options-probe': 'L7OK',
      'absolute-main': 'L7OK',
      'absolute-probe': 'L7OK',
      'ready-main': 'L7STS',
      'ready-probe': 'L7STS',
      'bare-main': 'L7STS',
      'bare-probe': 'L7STS'
    })
  }
)
