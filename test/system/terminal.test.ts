// The service on a real terminal, which script(1) creates: the output and effect of Ctrl-C.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { ENCRYPTION_KEY, SESSION_SECRET } from '../support/app.ts'
import { createTestDatabase } from '../support/database.ts'
import { processesIn } from '../support/process-tree.ts'
import { cliScript, projectRoot, serverScript } from '../support/project.ts'
import { missingTool } from '../support/tools.ts'

const skip = missingTool('script', 'bsdutils')
const SERVICE = `${process.execPath} ${serverScript}`
const DRAIN_60 = 'Draining for 60 s, then shutting down within 20 s. Press Ctrl-C again to exit immediately.'

/** A command on its own terminal. */
function onTerminal(t: Test, command: string, settings: Record<string, string>) {
  const ports = { PORT: '0', PROBE_PORT: '0', METRICS_PORT: 'off' }
  const env = Object.entries({
    PATH: process.env.PATH ?? '',
    HOME: settings.DATA_DIR ?? t.testdir(),
    ...ports,
    ...settings
  })
  const words = ['env', '-i', ...env.map(([key, value]) => `${key}=${value}`), 'script', '-qefc', `exec ${command}`]
  const child = spawn(words[0] ?? '', [...words.slice(1), '/dev/null'], { cwd: projectRoot })
  t.teardown(() => child.kill('SIGKILL'))
  const ended = once(child, 'exit').then(([code]) => code)
  let screen = ''
  let changed = () => {}
  child.stdout.on('data', chunk => {
    screen += chunk
    changed()
  })
  return {
    ended,
    ctrlC: () => child.stdin.write('\x03'),
    enter: (line: string) => child.stdin.write(`${line}\r`),
    screen: () => screen,
    /** Waits until the text is on the screen. */
    async shows(text: string) {
      while (!screen.includes(text)) {
        const change = new Promise<false>(resolve => {
          changed = () => resolve(false)
        })
        const code = await Promise.race([change, ended])
        if (code !== false && !screen.includes(text)) throw new Error(`ended with ${code} without '${text}': ${screen}`)
      }
    }
  }
}

/** Waits until no process works in the directory. @returns how long that took, in milliseconds */
async function untilGone(dir: string): Promise<number> {
  const startedMs = performance.now()
  while ((await processesIn(dir)).length > 0) await sleep(20)
  return Math.round(performance.now() - startedMs)
}

t.test('Ctrl-C prints the next steps, and a second one exits and stops the embedded Postgres', { skip }, async t => {
  const DATA_DIR = t.testdir()
  const terminal = onTerminal(t, SERVICE, { DATA_DIR, DRAIN_SECONDS: '60' })
  await terminal.shows('embedded postgres started')
  terminal.ctrlC()
  await terminal.shows(DRAIN_60)
  t.equal(existsSync(join(DATA_DIR, 'postgres/postmaster.pid')), true, 'the database serves during the drain')
  await sleep(100)
  terminal.ctrlC()
  t.equal(await terminal.ended, 1)
  const tookMs = await untilGone(DATA_DIR)
  t.ok(tookMs <= 5_000, `at most 5 s: ${tookMs} ms`)
  t.equal(existsSync(join(DATA_DIR, 'postgres/postmaster.pid')), false, 'a fast shutdown, which removes postmaster.pid')
})

t.test('two Ctrl-C while the embedded Postgres is created end all processes', { skip }, async t => {
  const DATA_DIR = t.testdir()
  const terminal = onTerminal(t, SERVICE, { DATA_DIR, DRAIN_SECONDS: '60' })
  await terminal.shows('main port open')
  while ((await processesIn(DATA_DIR)).length === 0) await sleep(5)
  terminal.ctrlC()
  await terminal.shows(DRAIN_60)
  await sleep(100)
  terminal.ctrlC()
  t.equal(await terminal.ended, 1)
  const tookMs = await untilGone(DATA_DIR)
  t.ok(tookMs <= 5_000, `at most 5 s: ${tookMs} ms`)
})

t.test('one Ctrl-C during npm start drains, also while the embedded Postgres is created', { skip }, async t => {
  const DATA_DIR = t.testdir()
  const terminal = onTerminal(t, 'npm start', { DATA_DIR, DRAIN_SECONDS: '2' })
  await terminal.shows('main port open')
  while ((await processesIn(DATA_DIR)).length === 0) await sleep(5)
  terminal.ctrlC()
  await terminal.shows('Draining for 2 s, then shutting down within 20 s. Press Ctrl-C again to exit immediately.')
  await terminal.shows('"msg":"closed"')
  t.equal(await terminal.ended, 0)
  t.strictSame(await processesIn(DATA_DIR), [])
})

t.test('a new password is asked for twice, is not shown, and both entries must be the same', { skip }, async t => {
  const { url: DATABASE_URL } = await createTestDatabase(t)
  const secrets = { SESSION_SECRET, ENCRYPTION_KEY, DATABASE_URL }
  const create = (name: string) =>
    onTerminal(t, `${process.execPath} ${cliScript} user:create ${name} --admin`, secrets)
  const different = create('ada')
  await different.shows('password: ')
  different.enter('correct horse battery')
  await different.shows('password again: ')
  different.enter('correct horse batery')
  t.equal(await different.ended, 2)
  t.ok(different.screen().includes('both entries of the password must be the same'), different.screen())
  const same = create('ada')
  await same.shows('password: ')
  same.enter('correct horse battery')
  await same.shows('password again: ')
  same.enter('correct horse battery')
  t.equal(await same.ended, 0, same.screen())
  t.notOk(same.screen().includes('horse'), 'the password is not on the screen')
})

t.test('the first password is printed to the terminal, once, and no file has it', { skip }, async t => {
  const DATA_DIR = t.testdir()
  const first = /first admin: user name admin, password \S+ \(to be changed at the first sign-in\)/g
  for (const [start, expected] of [
    ['first', 1],
    ['second', 0]
  ] as const) {
    const terminal = onTerminal(t, SERVICE, { DATA_DIR, DRAIN_SECONDS: '0' })
    await terminal.shows('"step":"first_admin"')
    terminal.ctrlC()
    t.equal(await terminal.ended, 0)
    t.equal(terminal.screen().match(first)?.length ?? 0, expected, start)
    t.notOk(existsSync(join(DATA_DIR, 'first-admin-password')))
  }
})

t.test('with the log in a file the first password is printed to the terminal of standard error', { skip }, async t => {
  const DATA_DIR = t.testdir()
  const log = join(DATA_DIR, 'service.log')
  const terminal = onTerminal(t, `sh -c '${SERVICE} > ${log}'`, { DATA_DIR, DRAIN_SECONDS: '0' })
  await terminal.shows('first admin: user name admin, password ')
  terminal.ctrlC()
  await terminal.ended
  t.notMatch(readFileSync(log, 'utf8'), /first admin:/)
})
