// The operator's commands, and HTTPie sessions of admins.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { untilStatus } from '../support/app.ts'
import { assertRows } from '../support/assert-rows.ts'
import { createTestDatabase } from '../support/database.ts'
import { spawnNode } from '../support/node-process.ts'
import { cliScript, projectRoot } from '../support/project.ts'
import { startService } from '../support/service.ts'
import { Client } from '../support/session.ts'

const PASSWORD = 'correct horse battery'

async function admin(environment: Record<string, string>, input: string, ...words: string[]) {
  const child = spawnNode(cliScript, words, {
    cwd: projectRoot,
    env: environment,
    stdio: ['pipe', 'pipe', 'pipe']
  })
  child.stdin?.end(input)
  const ended = once(child, 'exit')
  if (!child.stdout || !child.stderr) throw new Error('the command has no output')
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)])
  const [code] = await ended
  return { code, stdout, stderr }
}

t.test('the operator creates, lists, disables users and changes passwords', async t => {
  const { url } = await createTestDatabase(t)
  const run = (input: string, ...words: string[]) => admin({ DATABASE_URL: url }, input, ...words)

  t.hasStrict(await run('', 'migrate'), { code: 0, stdout: 'schema up to date\n' })
  t.hasStrict(await run('', 'user:list'), { code: 0, stdout: 'There are no users. Create one with user:create.\n' })
  t.hasStrict(await run(`${PASSWORD}\n`, 'user:create', 'ops', '--admin'), {
    code: 0,
    stdout: 'ops created with the role admin\n'
  })
  t.hasStrict(await run(`${PASSWORD}\n`, 'user:create', 'OPS'), { code: 2, stderr: 'OPS exists already\n' })
  t.match(await run('short\n', 'user:create', 'other'), { code: 2, stderr: /8 to 256/ })
  t.match(await run('iloveyou123\n', 'user:create', 'other'), { code: 2, stderr: /too common/ })
  t.match(await run('other-2026\n', 'user:create', 'other'), { code: 2, stderr: /besides the user name/ })
  t.match(await run('', 'user:create', 'other'), { code: 2, stderr: /no line with the secret/ })
  t.match(await run('', 'user:create', 'a b'), { code: 2, stderr: /user name/ })
  t.hasStrict(await run('', 'user:list'), {
    code: 0,
    stdout: 'name  role   state   last_sign_in\nops   admin  active  never\n'
  })
  t.hasStrict(await run('another password\n', 'user:password', 'ops'), { code: 0 })
  t.match(await run('0ps-0ps-0ps\n', 'user:password', 'ops'), { code: 2, stderr: /besides the user name/ })
  t.hasStrict(await run('', 'user:password', 'nobody'), { code: 2, stderr: 'there is no user nobody\n' })
  t.hasStrict(await run('', 'user:telegram', 'ops', '--chat=-1004242'), {
    code: 0,
    stdout: 'summaries of ops go to -1004242\n'
  })
  t.match(await run('', 'user:telegram', 'ops', '--chat=@somewhere'), { code: 2, stderr: /--chat is a number/ })
  t.hasStrict(await run('', 'user:telegram', 'nobody', '--chat=none'), { code: 2, stderr: 'there is no user nobody\n' })
  t.match(await run('', 'user:disable', 'ops'), { code: 2, stderr: /^ops is the only admin who is not disabled: / })
  t.match(await run('', 'user:role', 'ops', 'viewer'), { code: 2, stderr: /^ops is the only admin/ })
  t.match(await run('', 'user:role', 'ops', 'owner'), { code: 2, stderr: /one of admin, viewer, user/ })
  t.hasStrict(await run(`${PASSWORD}\n`, 'user:create', 'eve'), { code: 0, stdout: 'eve created with the role user\n' })
  for (const _ of [1, 2]) {
    t.hasStrict(await run('', 'user:role', 'eve', 'admin'), { code: 0, stdout: 'eve has the role admin\n' })
  }
  t.hasStrict(await run('', 'user:sessions', 'eve'), { code: 0, stdout: 'eve has no open session\n' })
  t.hasStrict(await run('', 'user:sessions', 'eve', '--end', '0123456789ab'), {
    code: 0,
    stdout: 'eve has no session 0123456789ab\n'
  })
  t.match(await run('', 'user:sessions', 'eve', '--end', '%'), { code: 2, stderr: /12 hexadecimal digits/ })
  t.match(await run('', 'user:sessions', 'eve', '--end', '0123456789ab', '--end-all'), { code: 2, stderr: /combined/ })
  t.hasStrict(await run('', 'user:sessions', 'eve', '--end-all'), { code: 0, stdout: 'sessions of eve ended: 0\n' })
  t.hasStrict(await run('', 'user:disable', 'ops'), { code: 0, stdout: 'ops disabled\n' })
  t.hasStrict(await run('', 'user:enable', 'ops'), { code: 0, stdout: 'ops enabled\n' })
  for (const command of ['user:disable', 'user:enable', 'user:sessions']) {
    t.hasStrict(await run('', command, 'nobody'), { code: 2, stderr: 'there is no user nobody\n' })
  }
  t.hasStrict(await run('', 'user:disable', 'ops'), { code: 0, stdout: 'ops disabled\n' })
  t.hasStrict(await run('', 'user:list'), {
    stdout: 'name  role   state     last_sign_in\neve   admin  active    never\nops   admin  disabled  never\n'
  })

  const sql = postgres(url, { max: 1 })
  t.teardown(() => sql.end())
  const audit = await sql<{ actor: string }[]>`
    select actor, action, target, outcome from audit_log order by audit_id`
  const changes = [
    ['user:create', 'ops admin'],
    ...['user:password', 'user:telegram'].map(action => [action, 'ops']),
    ['user:create', 'eve user'],
    ...Array(2).fill(['user:role', 'eve admin']),
    ['user:sessions', 'eve 0123456789ab'],
    ['user:sessions', 'eve all'],
    ...['user:disable', 'user:enable', 'user:disable'].map(action => [action, 'ops'])
  ]
  assertRows(
    t,
    audit,
    changes.map(([action, target]) => ({ action, target, outcome: 'succeeded' }))
  )
  for (const { actor } of audit) t.match(actor, /^cli:./)
})

t.test('with the embedded database the first password is in a file, which its first change removes', async t => {
  const dataDir = t.testdir()
  const path = join(dataDir, 'first-admin-password')
  const first = await startService(t, { DATA_DIR: dataDir })
  await untilStatus(`${first.main}/health/startup`, 200)
  const password = (await readFile(path, 'utf8')).trim()
  t.equal((await stat(path)).mode & 0o777, 0o600)
  t.hasStrict(await first.logged('password of the first admin in a file, to be changed'), { level: 40, path })
  t.notOk(first.text().includes(password), 'the password is not in the log or the output')
  t.match(
    await admin({ DATA_DIR: dataDir }, '', 'user:list'),
    { stdout: /^admin +admin +active +never/m },
    'while the service runs'
  )
  await first.end()

  const second = await startService(t, { DATA_DIR: dataDir })
  await untilStatus(`${second.main}/health/startup`, 200)
  t.equal((await readFile(path, 'utf8')).trim(), password, 'a restart changes nothing')
  const client = new Client(second.main)
  t.hasStrict(await client.signIn('admin', password), { status: 200 })
  t.hasStrict(await client.send('GET', '/api/system/scheduler-status'), { status: 403 })
  const change = { current_password: password, new_password: PASSWORD }
  t.hasStrict(await client.send('POST', '/api/auth/password', change), { status: 200 })
  await t.rejects(stat(path), { code: 'ENOENT' })
  t.hasStrict(await client.send('GET', '/api/system/scheduler-status'), { status: 200 })
  await second.end()
  t.match(
    await admin({ DATA_DIR: dataDir }, '', 'user:list'),
    { stdout: /^admin +admin +active/m },
    'without the service'
  )
})

t.test('a password that the operator sets removes the file of the first one', async t => {
  const dataDir = t.testdir()
  const path = join(dataDir, 'first-admin-password')
  const service = await startService(t, { DATA_DIR: dataDir })
  await untilStatus(`${service.main}/health/startup`, 200)
  t.hasStrict(await admin({ DATA_DIR: dataDir }, `${PASSWORD}\n`, 'user:create', 'ops'), { code: 0 })
  t.hasStrict(await admin({ DATA_DIR: dataDir }, `${PASSWORD}2\n`, 'user:password', 'ops'), { code: 0 })
  t.equal((await stat(path)).size, 21, 'the password of another user does not remove it')
  const { url } = await createTestDatabase(t)
  const other = { DATABASE_URL: url, DATA_DIR: dataDir }
  t.hasStrict(await admin(other, `${PASSWORD}\n`, 'user:create', 'admin'), { code: 0 })
  t.hasStrict(await admin(other, `${PASSWORD}2\n`, 'user:password', 'admin'), { code: 0 })
  t.equal((await stat(path)).size, 21, 'the password of an admin in another database does not remove it')
  t.hasStrict(await admin({ DATA_DIR: dataDir }, `${PASSWORD}\n`, 'user:password', 'Admin'), {
    code: 0,
    stdout: 'password of Admin changed\n'
  })
  await t.rejects(stat(path), { code: 'ENOENT' })
  // Its database would write into the directory while it is removed.
  await service.end()
})

t.test('the operator creates, lists and revokes tokens, and no token is shown again', async t => {
  const { url } = await createTestDatabase(t)
  const run = (...words: string[]) => admin({ DATABASE_URL: url }, '', ...words)
  t.hasStrict(await run('token:list'), { code: 0, stdout: 'There are no tokens. Create one with token:create.\n' })
  const wrong: [words: string[], stderr: RegExp][] = [
    [['a b', '--role', 'viewer', '--days', '1'], /name of a token/],
    [['th_abc', '--role', 'viewer', '--days', '1'], /not with th_/],
    [['x', '--role', 'owner', '--days', '1'], /one of admin, viewer, user/],
    ...['0', '367'].map((days): [string[], RegExp] => [
      ['x', '--role', 'viewer', `--days=${days}`],
      /--days is a number from 1 to/
    ]),
    [['x', '--role', 'viewer', '--days', '1', '--from', '10.0.0.0/99'], /addresses or networks/],
    [['x', '--role', 'viewer', '--days', '1', '--from='], /addresses or networks/],
    [['x', '--role', 'user', '--days', '1'], /needs --user/],
    [['x', '--role', 'user', '--days', '1', '--user', 'nobody'], /no user nobody/]
  ]
  for (const [words, stderr] of wrong) {
    const result = await run('token:create', ...words)
    t.strictSame([result.code, result.stdout], [2, ''], words.join(' '))
    t.match(result.stderr, stderr)
  }
  const created = await run('token:create', 'ci', '--role', 'viewer', '--days', '90', '--from', '10.0.0.0/8,::1')
  t.strictSame([created.code, created.stderr], [0, ''])
  t.match(created.stdout, /^th_[\w-]{43}\n$/, 'the token alone')
  t.match(await run('token:create', 'CI', '--role', 'viewer', '--days', '1'), { code: 2, stderr: /token CI already/ })
  const listed = await run('token:list')
  t.match(listed.stdout, /^ci +viewer +- +10\.0\.0\.0\/8,::1 +\S+Z +\S+Z +never +-$/m)
  t.notOk(listed.stdout.includes('th_'))
  t.hasStrict(await run('token:revoke', 'ci'), { code: 0, stdout: 'ci revoked\n' })
  t.hasStrict(await run('token:revoke', 'nothing'), { code: 2, stderr: 'there is no token nothing\n' })
  t.match((await run('token:list')).stdout, /^ci .* never +\S+Z$/m)
  const mistaken = await run('token:revoke', created.stdout.trim())
  t.equal(mistaken.code, 2)
  t.notOk(mistaken.stderr.includes(created.stdout.trim()), 'a token in place of its name is not printed')

  const sql = postgres(url, { max: 1 })
  t.teardown(() => sql.end())
  const rows = await sql`select action, target, outcome from audit_log order by audit_id`
  assertRows(t, rows, [
    { action: 'token:create', target: 'ci viewer 90 days 10.0.0.0/8,::1', outcome: 'succeeded' },
    { action: 'token:revoke', target: 'ci', outcome: 'succeeded' }
  ])
})

const noHttpie = spawnSync('http', ['--version']).error && 'HTTPie is not installed (Debian package httpie)'

t.test('HTTPie signs in, reads and signs out as in the README', { skip: noHttpie ?? false }, async t => {
  const { url } = await createTestDatabase(t)
  const service = await startService(t, { DATABASE_URL: url })
  await untilStatus(`${service.main}/health/startup`, 200)
  await admin({ DATABASE_URL: url }, `${PASSWORD}\n`, 'user:create', 'ops', '--admin')

  const session = join(t.testdir(), 'ops.json')
  const http = (...words: string[]) => httpie(t, ['--session', session, ...words])
  const at = (path: string) => service.main.replace('http://', '') + path
  const login = await http('POST', at('/api/auth/login'), 'username=ops', `password=${PASSWORD}`)
  t.hasStrict(login, { code: 0, answer: { success: true, user: { username: 'ops', is_admin: true } } })
  const log = await http(at('/api/system/audit-log'))
  t.equal(log.code, 0)
  assertRows(t, log.answer.entries, [{ action: 'sign_in' }, { action: 'user:create' }])
  const details = await http(at('/api/system/health/details'))
  t.equal(details.code, 0)
  const [check] = details.answer.checks as object[]
  t.match(check, { name: 'database', status: 'ok' })
  t.hasStrict(await http('--json', 'POST', at('/api/auth/logout')), { code: 0, answer: { success: true } })
  t.hasStrict(await http(at('/api/auth/me')), { code: 4, answer: { code: 'UNAUTHENTICATED' } })

  const create = ['token:create', 'scripts', '--role', 'viewer', '--days', '90']
  const token = (await admin({ DATABASE_URL: url }, '', ...create)).stdout.trim()
  const withToken = (...words: string[]) => httpie(t, [...words, `Authorization:Bearer ${token}`])
  t.hasStrict(await withToken(at('/api/auth/me')), { code: 0, answer: { token: { name: 'scripts' } } })
  t.hasStrict(await withToken(at('/api/system/scheduler-status')), { code: 0, answer: { success: true } })
  const trigger = await withToken(at('/api/system/trigger-job'), 'job_type=housekeeping')
  t.hasStrict(trigger, { code: 4, answer: { code: 'FORBIDDEN' } })
})

async function httpie(t: Test, words: string[]) {
  const home = t.testdirName
  const child = spawn('http', ['--ignore-stdin', '--check-status', '--body', ...words], {
    env: { PATH: process.env.PATH, HOME: home },
    stdio: ['ignore', 'pipe', 'ignore']
  })
  const ended = once(child, 'exit')
  const out = await text(child.stdout)
  const [code] = await ended
  return { code, answer: JSON.parse(out) as Record<string, unknown> }
}
