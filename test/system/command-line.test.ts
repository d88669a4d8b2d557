// Help and errors of the command line. admin.test.ts and accounts.test.ts run the commands.
import t from 'tap'
import { runCommand } from '../support/command.ts'

/** The command lines of this file do not connect to a database. */
const run = (...words: string[]) => runCommand({ DATABASE_URL: 'postgres://127.0.0.1:1/none' }, [], ...words)

t.test('help lists every command, in each form of the help option', async t => {
  const commands = [
    ...[
      'user:create',
      'user:list',
      'user:disable',
      'user:enable',
      'user:role',
      'user:sessions',
      'user:telegram',
      'user:password'
    ],
    ...['token:create', 'token:list', 'token:revoke'],
    ...['account:add', 'account:list', 'account:test', 'account:disable', 'keys:rotate'],
    ...['books:list', 'books:adjust', 'books:verify', 'status', 'migrate']
  ]
  for (const words of [['help'], ['--help'], ['-h']]) {
    const { code, stdout, stderr } = await run(...words)
    t.strictSame({ code, stderr }, { code: 0, stderr: '' }, words.join(' '))
    const listed = [...stdout.matchAll(/^ {2}([a-z]+(?::[a-z]+)?) /gm)].map(([, name]) => name)
    t.strictSame(listed, [...commands, 'help'])
  }
  const { code, stdout, stderr } = await run()
  t.strictSame(
    { code, stdout, help: stderr.startsWith('Usage: npm run admin -- COMMAND') },
    { code: 2, stdout: '', help: true }
  )
})

t.test('every command has its own help, in both forms', async t => {
  const help = await run('help', 'user:create')
  t.strictSame(help, await run('user:create', '--help'))
  t.strictSame({ code: help.code, stderr: help.stderr }, { code: 0, stderr: '' })
  t.match(help.stdout, /^Usage: npm run admin -- user:create \[options\] <name>\n/)
  t.match(help.stdout, /--admin +give the user the admin role/)
})

t.test('the common first part of commands lists them', async t => {
  const list = /^user is not a command. The commands are:\n {2}user:create +create a user;/
  for (const words of [
    ['help', 'user'],
    ['user', '--help'],
    ['user', '-h']
  ]) {
    const { code, stdout, stderr } = await run(...words)
    t.strictSame({ code, stderr }, { code: 0, stderr: '' }, words.join(' '))
    t.match(stdout, list)
  }
  const { code, stdout, stderr } = await run('user')
  t.strictSame({ code, stdout }, { code: 2, stdout: '' })
  t.match(stderr, list)
})

t.test('a wrong command line is rejected with the reason and the nearest name', async t => {
  const wrong: [string[], string][] = [
    [['nonsense'], "error: unknown command 'nonsense'\n"],
    [['constructor'], "error: unknown command 'constructor'\n"],
    [['help', 'nonsense'], "error: unknown command 'nonsense'\n"],
    [['user:lst'], "error: unknown command 'user:lst'\n(Did you mean user:list?)\n"],
    [['user:create', 'ops', '--admn'], "error: unknown option '--admn'\n(Did you mean --admin?)\n"],
    [['account:list', "--api-secret=it is'\nhidden"], "error: unknown option '--api-secret'\n"],
    [['user:list', '--admin'], "error: unknown option '--admin'\n"],
    [['user:create'], "error: missing required argument 'name'\n"],
    [['user:create', 'a', 'b'], "error: too many arguments for 'user:create'. Expected 1 argument but got 2.\n"],
    [['user:telegram', 'ops'], "error: required option '--chat <id>' not specified\n"],
    [['account:add', '--user', 'ops', '--name', 'x'], "error: required option '--exchange <exchange>' not specified\n"],
    [['status', 'ops', '--url', 'http://example.com'], '--url must be an https address, or an http one on loopback\n']
  ]
  for (const [words, stderr] of wrong) {
    t.strictSame(await run(...words), { code: 2, stdout: '', stderr }, words.join(' '))
  }
})

t.test('a database that cannot be used is reported in a sentence with the code of its cause', async t => {
  t.strictSame(await run('user:list'), {
    code: 1,
    stdout: '',
    stderr: 'the database cannot be reached (ECONNREFUSED): check DATABASE_URL and the server\n'
  })
})
