// The process: its first start, its signals, its exit codes, and a restart after a kill.
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { untilStatus } from '../support/app.ts'
import { runCommand } from '../support/command.ts'
import { createTestDatabase } from '../support/database.ts'
import { spawnNode } from '../support/node-process.ts'
import { Prober } from '../support/prober.ts'
import { compiledTests, projectRoot, serverScript } from '../support/project.ts'
import { startService } from '../support/service.ts'

/** The id of the Unix user `nobody`. */
const NOBODY = 65_534

t.test('an invalid setting stops the start with one line and exit code 2', async t => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [serverScript], {
    env: { DATABASE_URL: 'hunter2' },
    encoding: 'utf8'
  })
  t.equal(status, 2)
  t.equal(stdout, '')
  t.equal(stderr, 'configuration: DATABASE_URL must be a postgres:// address\n')
})

t.test('a time zone whose days differ in PostgreSQL stops the start with one line and exit code 2', async t => {
  const { url: DATABASE_URL } = await createTestDatabase(t)
  const service = await startService(t, { DATABASE_URL, TIME_ZONE: 'CET' })
  await service.logged('setting rejected, shutting down')
  if (service.child.exitCode === null) await once(service.child, 'exit')
  t.equal(service.child.exitCode, 2)
  const fatal = service.log.filter(({ level }) => level === 60)
  t.equal(fatal.length, 1)
  t.ok(String(fatal[0]?.reason).startsWith('TIME_ZONE: Node.js and PostgreSQL do not begin'), String(fatal[0]?.reason))
  t.strictSame(
    service.log.filter(({ msg }) => msg === 'start-up step done').map(({ step }) => step),
    ['session_settings', 'schema', 'replica', 'exchange_bans', 'health_history'],
    'no job has run'
  )
})

t.test('a start on an unsupported Node logs one warning, and the service works', async t => {
  const { url: DATABASE_URL } = await createTestDatabase(t)
  const service = await startService(t, { DATABASE_URL }, [
    '--import',
    join(compiledTests, 'support/unsupported-node.js')
  ])
  await untilStatus(`${service.main}/health/ready`, 200)
  const warnings = service.log.filter(({ msg }) => msg === 'unsupported Node version')
  t.strictSame(
    warnings.map(({ level, node_version, supported }) => ({ level, node_version, supported })),
    [{ level: 40, node_version: 'v20.18.3', supported: '>=20.19' }]
  )
  t.strictSame(await service.end(), { code: 0, signal: null })
})

t.test('an invalid DATABASE_URL stops service and commands with one line, exit code 2, and no secret', async t => {
  const directory = scratch(t)
  const cases: [url: string, rule: string][] = [
    [
      'postgres://hunter2user:hunter2password@hunter2host/d?sslmode=hunter2mode',
      'sslmode must be one of disable, prefer, require, verify-ca, verify-full'
    ],
    ['postgres://hunter2user:hunter2password@hunter2host:hunter2port/d', 'port must be an integer from 1 to 65535'],
    [
      'postgres://hunter2user:hunter2password@hunter2host/d?hunter2name=hunter2value',
      'a parameter is not supported; its name is not shown, because libpq does not define it'
    ],
    [
      `postgres://hunter2user:hunter2password@hunter2host/d?sslmode=verify-full&sslrootcert=${join(directory, 'hunter2.pem')}`,
      'sslrootcert must be system or a readable file of valid PEM certificates'
    ]
  ]
  for (const [url, rule] of cases) {
    const { status, stdout, stderr } = spawnSync(process.execPath, [serverScript], {
      env: { DATABASE_URL: url },
      encoding: 'utf8'
    })
    t.strictSame(
      { status, stdout, stderr },
      { status: 2, stdout: '', stderr: `configuration: DATABASE_URL: ${rule}\n` }
    )
  }
  const [[url, rule] = ['', '']] = cases
  for (const command of ['user:list', 'account:list', 'migrate']) {
    t.strictSame(
      await runCommand({ DATABASE_URL: url }, [], command),
      { code: 2, stdout: '', stderr: `DATABASE_URL: ${rule}\n` },
      command
    )
  }
})

t.test('SIGTERM drains and exits with 0', async t => {
  const { url } = await createTestDatabase(t)
  const service = await startService(t, { DATABASE_URL: url, DRAIN_SECONDS: '1' })
  await untilStatus(`${service.main}/health/ready`, 200)
  const prober = new Prober(t)
  service.child.kill('SIGTERM')
  await service.logged('draining')
  const ready = await prober.probe(`${service.probes}/health/ready`)
  t.match(ready, { status: 503, body: { error: 'draining' } })
  t.equal((await prober.probe(`${service.main}/health/live`)).status, 200)
  t.strictSame(await service.end('SIGCONT'), { code: 0, signal: null })
  t.ok(service.log.find(({ msg }) => msg === 'closed'))
})

t.test('a second signal exits at once, with 1', async t => {
  const { url } = await createTestDatabase(t)
  const service = await startService(t, { DATABASE_URL: url, DRAIN_SECONDS: '600' })
  service.child.kill('SIGTERM')
  await service.logged('draining')
  await new Promise(resolve => setTimeout(resolve, 400))
  t.strictSame(await service.end('SIGTERM'), { code: 1, signal: null })
})

t.test('a replica that starts before its database becomes ready when the database is available', async t => {
  const service = await startService(t, { DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none', DRAIN_SECONDS: '0' })
  const prober = new Prober(t)
  t.match(await prober.probe(`${service.main}/health/startup`), {
    status: 503,
    body: { error: 'database_unreachable' }
  })
  t.equal((await prober.probe(`${service.main}/health/live`)).status, 200)
  t.strictSame(await service.end(), { code: 0, signal: null })
})

t.test('kill -9, garbled files, then start: nothing in the embedded database is lost', async t => {
  const directory = scratch(t)
  const settings = { DATA_DIR: directory, SESSION_SECRET: '', ENCRYPTION_KEY: '' }
  const first = await startService(t, settings)
  await untilStatus(`${first.main}/health/ready`, 200)
  const secrets = ['session-secret', 'encryption-key'].map(name => join(directory, name))
  const made = secrets.map(path => readFileSync(path, 'utf8'))
  await first.end('SIGKILL')

  const second = await startService(t, settings)
  await untilStatus(`${second.main}/health/ready`, 200)
  const line = await second.logged('schema up to date')
  t.strictSame(line.applied, [], 'the schema of the first start is still there')
  t.strictSame(await second.end(), { code: 0, signal: null })
  t.strictSame(postgresProcesses(directory), [], 'no database process is left')
  t.strictSame(
    secrets.map(path => readFileSync(path, 'utf8')),
    made
  )

  // The files after a power cut. There is no account, so no key is lost.
  const data = ['postmaster.pid', 'PG_VERSION'].map(name => join(directory, 'postgres', name))
  for (const path of [...secrets, ...data]) writeFileSync(path, '\0'.repeat(44))
  const third = await startService(t, settings)
  await untilStatus(`${third.main}/health/ready`, 200)
  t.strictSame((await third.logged('schema up to date')).applied, [])
  t.equal((await third.logged('session secret garbled, a new one is used')).path, secrets[0])
  t.equal((await third.logged('version of the embedded data garbled, written again')).path, data[1])
  const step = third.log.find(line => line.step === 'encryption_key')
  t.equal(step?.file, 'garbled')
  const lengths = secrets.map(path => Buffer.from(readFileSync(path, 'utf8'), 'base64').length)
  t.strictSame(lengths, [32, 32], 'both files are created again')
  t.strictSame(await third.end(), { code: 0, signal: null })
})

for (const user of ['root', 'nobody'] as const) {
  const skip = process.getuid?.() !== 0 && 'only root can start a process as somebody else'
  t.test(`first start in a fresh copy under an empty HOME, as ${user}`, { skip }, async t => {
    const directory = scratch(t)
    const app = join(directory, 'app')
    const home = join(directory, 'home')
    spawnSync('mkdir', [home])
    for (const part of ['dist', 'package.json']) cpSync(join(projectRoot, part), join(app, part), { recursive: true })
    spawnSync('ln', ['-s', join(projectRoot, 'node_modules'), join(app, 'node_modules')])
    if (user === 'nobody') spawnSync('chown', ['-R', 'nobody', directory])
    const script = join(app, 'dist/src/server.js')
    const settings = { HOME: home, PORT: '0', PROBE_PORT: '0', DRAIN_SECONDS: '0' }
    const child = spawnNode(script, [], {
      cwd: app,
      env: settings,
      stdio: ['ignore', 'pipe', 'inherit'],
      ...(user === 'nobody' && { uid: NOBODY, gid: NOBODY })
    })
    const ended = once(child, 'exit')
    t.teardown(async () => {
      child.kill('SIGKILL')
      await ended
    })
    let out = ''
    const main = await new Promise<string>((resolve, reject) => {
      child.stdout?.setEncoding('utf8').on('data', text => {
        out += text
        const found = /"main":"([^"]+)"/.exec(out)?.[1]
        if (found) resolve(found)
      })
      void ended.then(() => reject(new Error(out)))
    })
    await untilStatus(`${main}/health/ready`, 200)
    child.kill('SIGTERM')
    t.strictSame(await ended, [0, null], out)
    t.strictSame(postgresProcesses(directory), [], 'no database process is left')
  })
}

function scratch(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'th-'))
  chmodSync(directory, 0o755)
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

function postgresProcesses(directory: string): string[] {
  const { stdout } = spawnSync('ps', ['-eo', 'args'], { encoding: 'utf8' })
  return stdout.split('\n').filter(line => line.includes('postgres') && line.includes(directory))
}
