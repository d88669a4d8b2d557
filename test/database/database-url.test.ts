import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { rootCertificates } from 'node:tls'
import { inspect } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import {
  type DatabaseHost,
  type DatabaseTarget,
  DatabaseUrlError,
  parseDatabaseUrl
} from '../../src/database/database-url.ts'
import { codePoint } from '../support/code-point.ts'
import { projectRoot } from '../support/service.ts'

/** The user of the operating system that these tests assume. */
const OS_USER = 'operator'

/** The parsed `postgres://h`. */
const DEFAULTS: DatabaseTarget = {
  hosts: [{ host: 'h', port: 5432 }],
  user: OS_USER,
  password: undefined,
  database: OS_USER,
  tls: { mode: 'prefer', ca: undefined },
  targetSessionAttrs: 'any',
  applicationName: undefined
}

function parse(url: string): DatabaseTarget {
  return parseDatabaseUrl(url, () => OS_USER)
}

/** @returns the rule that a URL breaks; undefined when it breaks none */
function ruleOf(url: string): string | undefined {
  try {
    parse(url)
    return undefined
  } catch (err) {
    if (err instanceof DatabaseUrlError) return err.message
    throw err
  }
}

const AT =
  'must have at most one unencoded @, before the hosts: percent-encode @, / and ? in user and password, and @ elsewhere'
const ENCODING = 'every % must begin a percent-encoded UTF-8 character; % itself is %25'
const HOST =
  'a host must be a name, an IPv4 address, an IPv6 address in brackets, or a percent-encoded socket directory, with unencoded commas between hosts'
const LENGTH = 'must have at most 4096 characters'
const NO_HOST = 'must name a host or a socket directory, and no host may be empty'
const NO_USER = 'user must be given, because the user of the operating system has no name'
const PAIR = 'parameters must have the form name=value, with & between them and every other = percent-encoded'
const PORT = 'port must be an integer from 1 to 65535'
const PORT_COUNT = 'port must be one port, or one for each host'
const ROOT_MODE = 'sslrootcert requires sslmode require, verify-ca or verify-full'
const ROOT_FILE = 'sslrootcert must be system or a readable file of valid PEM certificates'
const SCHEME = 'must begin with postgres:// or postgresql://'
const SOCKET_PATH = 'the path of a unix socket must have at most 107 bytes'
const SPACE = 'must percent-encode spaces, control characters and #'
const SYSTEM_MODE = 'sslrootcert=system requires sslmode verify-ca or verify-full'
const UNKNOWN = 'a parameter is not supported; its name is not shown, because libpq does not define it'
const UNICODE = 'must be well-formed Unicode'
const ZERO = 'must not contain the character 0'

const SUPPORTED = [
  'host',
  'port',
  'user',
  'password',
  'dbname',
  'sslmode',
  'sslrootcert',
  'channel_binding',
  'target_session_attrs',
  'application_name',
  'connect_timeout'
]

/** Every message that an error may have, except those that name one of the parameters of libpq. */
const FIXED_RULES = new Set([
  AT,
  ENCODING,
  HOST,
  LENGTH,
  NO_HOST,
  NO_USER,
  PAIR,
  PORT,
  PORT_COUNT,
  ROOT_MODE,
  ROOT_FILE,
  SCHEME,
  SOCKET_PATH,
  SPACE,
  SYSTEM_MODE,
  UNKNOWN,
  UNICODE,
  ZERO,
  'sslmode must be one of disable, prefer, require, verify-ca, verify-full',
  'channel_binding must be one of disable, prefer, require',
  'target_session_attrs must be one of any, read-write, primary',
  'application_name must be at most 63 printable ASCII characters',
  'connect_timeout must be a positive integer',
  ...SUPPORTED.map(name => `${name} must be given only once`)
])

t.test('a URL of a host alone has the defaults', async t => {
  t.strictSame(parse('postgres://h'), DEFAULTS)
  t.strictSame(parse('postgresql://h'), DEFAULTS)
  t.strictSame(parse('postgres://h/'), DEFAULTS)
  t.strictSame(parse('postgres://h?'), DEFAULTS)
  t.strictSame(parse('postgres://@h:/?'), DEFAULTS)
})

t.test('empty parameters that libpq treats as unset are unset', async t => {
  t.strictSame(parse('postgres://h?user=&password=&dbname=&port=&application_name=&sslrootcert=&'), DEFAULTS)
})

t.test('user, password and database are percent-decoded', async t => {
  t.strictSame(parse('postgres://me:a%40b%2Fc%3Ad%25e%23f%3Fg%20h@h/d%2Fb'), {
    ...DEFAULTS,
    user: 'me',
    password: 'a@b/c:d%e#f?g h',
    database: 'd/b'
  })
  t.equal(parse('postgres://me:a:b@h').password, 'a:b', 'the first colon ends the user')
  t.equal(parse('postgres://m%3Ae:p@h').user, 'm:e')
  t.equal(parse('postgres://me:%EB%B9%84%EB%B0%80@h').password, '비밀')
  t.equal(parse('postgres://me:비밀💣@h').password, '비밀💣', 'other scripts need no encoding')
  t.equal(parse('postgres://me:a+b@h').password, 'a+b', 'a plus sign is not a space')
  t.equal(parse('postgres://me:@h').password, undefined)
  t.equal(parse('postgres://:secret@h').user, OS_USER)
  t.equal(parse('postgres://h/a/b').database, 'a/b')
})

t.test('the database defaults to the name of the user', async t => {
  t.equal(parse('postgres://me@h').database, 'me')
  t.equal(parse('postgres://h?user=me').database, 'me')
})

t.test('the user defaults to that of the operating system, if it has a name', async t => {
  t.equal(ruleOf('postgres://h'), undefined)
  t.throws(() => parseDatabaseUrl('postgres://h', () => undefined), new DatabaseUrlError(NO_USER))
  t.equal(parseDatabaseUrl('postgres://me@h', () => undefined).user, 'me')
})

t.test('PG* variables are not consulted', async t => {
  const names = ['PGHOST', 'PGPORT', 'PGUSER', 'PGPASSWORD', 'PGDATABASE', 'PGSSLMODE', 'PGSSLROOTCERT', 'PGAPPNAME']
  const before = names.map(name => [name, process.env[name]] as const)
  t.teardown(() => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  })
  for (const name of [...names, 'PGTARGETSESSIONATTRS']) process.env[name] = '1'
  t.strictSame(parse('postgres://h'), DEFAULTS)
})

t.test('hosts are names, addresses and lists of them, each with its port', async t => {
  const cases: [url: string, hosts: DatabaseHost[]][] = [
    ['postgres://db.example:6432/d', [{ host: 'db.example', port: 6432 }]],
    ['postgres://%64b', [{ host: 'db', port: 5432 }]],
    ['postgres://bücher_1.example', [{ host: 'bücher_1.example', port: 5432 }]],
    [`postgres://${'a'.repeat(253)}`, [{ host: 'a'.repeat(253), port: 5432 }]],
    ['postgres://10.0.0.1', [{ host: '10.0.0.1', port: 5432 }]],
    ['postgres://[::1]', [{ host: '::1', port: 5432 }]],
    ['postgres://u:p@[2001:db8::1]:1/d', [{ host: '2001:db8::1', port: 1 }]],
    [
      'postgres://a:1,b,[::1]:65535',
      [
        { host: 'a', port: 1 },
        { host: 'b', port: 5432 },
        { host: '::1', port: 65_535 }
      ]
    ],
    [
      'postgres://a,b/d?port=7',
      [
        { host: 'a', port: 7 },
        { host: 'b', port: 7 }
      ]
    ],
    ['postgres://?host=a&port=1', [{ host: 'a', port: 1 }]],
    ['postgres:///d?host=::1', [{ host: '::1', port: 5432 }]],
    ['postgres://:7/d?host=a', [{ host: 'a', port: 7 }]],
    [
      'postgres:///d?host=a,b,%63&port=1,,3',
      [
        { host: 'a', port: 1 },
        { host: 'b', port: 5432 },
        { host: 'c', port: 3 }
      ]
    ]
  ]
  for (const [url, hosts] of cases) t.strictSame(parse(url).hosts, hosts, url)
})

t.test('a directory is the unix socket of the port in it', async t => {
  const cases: [url: string, ...paths: string[]][] = [
    ['postgres:///d?host=/var/run/postgresql', '/var/run/postgresql/.s.PGSQL.5432'],
    ['postgres:///d?host=/var/run/postgresql&port=6432', '/var/run/postgresql/.s.PGSQL.6432'],
    ['postgres://%2Fvar%2Frun%2Fpostgresql/d', '/var/run/postgresql/.s.PGSQL.5432'],
    ['postgres://me:p@%2Fdir:6432/d', '/dir/.s.PGSQL.6432'],
    ['postgres://%2Fa:1,%2Fb:2', '/a/.s.PGSQL.1', '/b/.s.PGSQL.2'],
    ['postgres:///d?host=/a,/b', '/a/.s.PGSQL.5432', '/b/.s.PGSQL.5432']
  ]
  for (const [url, ...paths] of cases) {
    t.strictSame(
      parse(url).hosts,
      paths.map(path => ({ path })),
      url
    )
  }
})

t.test('a percent-encoded comma or colon is part of a directory', async t => {
  const directory = '/home/x/s,:5432'
  const encoded = encodeURIComponent(directory)
  const hosts = [{ path: '/home/x/s,:5432/.s.PGSQL.5432' }]
  t.strictSame(parse(`postgres://postgres@${encoded}:5432/postgres`).hosts, hosts)
  t.strictSame(parse(`postgres://postgres@${encoded}/postgres`).hosts, hosts)
  t.strictSame(parse(`postgres:///postgres?host=${encoded}`).hosts, hosts)
  t.strictSame(
    parse(`postgres://${encoded}:1,h:2`).hosts,
    [{ path: '/home/x/s,:5432/.s.PGSQL.1' }, { host: 'h', port: 2 }],
    'next to another host'
  )
  t.strictSame(
    parse(`postgres://postgres@${encodeURIComponent('/home/x/s,')}:5432/postgres`).hosts,
    [{ path: '/home/x/s,/.s.PGSQL.5432' }],
    'the text that follows is not a port'
  )
})

t.test('the path of a socket may have 107 bytes', async t => {
  const longest = `/${'d'.repeat(107 - '/'.length - '/.s.PGSQL.5432'.length)}`
  t.strictSame(parse(`postgres:///d?host=${longest}`).hosts, [{ path: `${longest}/.s.PGSQL.5432` }])
  t.equal(ruleOf(`postgres:///d?host=${longest}d`), SOCKET_PATH)
  t.equal(ruleOf(`postgres:///d?host=${longest.slice(0, -2)}${encodeURIComponent('비')}`), SOCKET_PATH, 'bytes count')
})

t.test('host, port, user, password and database may be parameters', async t => {
  t.strictSame(parse('postgres://?host=h&port=1&user=m%40e&password=p%26w%3D&dbname=d&'), {
    ...DEFAULTS,
    hosts: [{ host: 'h', port: 1 }],
    user: 'm@e',
    password: 'p&w=',
    database: 'd'
  })
  t.equal(parse('postgres://h?%75ser=me').user, 'me', 'names are percent-decoded')
})

t.test('sslmode is one of the five modes of libpq', async t => {
  for (const mode of ['disable', 'prefer', 'require', 'verify-ca', 'verify-full']) {
    t.strictSame(parse(`postgres://h?sslmode=${mode}`).tls, { mode, ca: undefined }, mode)
  }
})

t.test('sslrootcert names a file of PEM certificates', async t => {
  const [one = '', two = ''] = rootCertificates
  const both = `# two roots\n${one}\n${two}\n`
  const directory = t.testdir({
    'one.pem': one,
    'two.pem': both,
    'key.pem': '-----BEGIN PRIVATE KEY-----\nMC4CAQA=\n-----END PRIVATE KEY-----\n',
    'empty.pem': '',
    'cut.pem': one.slice(0, -40),
    'second-cut.pem': `${one}\n${two.slice(0, -40)}`,
    'second-damaged.pem': `${one}\n${two.replace('MII', 'AAA')}`,
    'large.pem': `${one}\n${'#'.repeat(1024 * 1024)}`,
    'many-cut.pem': '-----BEGIN CERTIFICATE-----\n'.repeat(36_000),
    folder: {}
  })
  const url = (file: string, mode: string) =>
    `postgres://h?sslmode=${mode}&sslrootcert=${encodeURIComponent(join(directory, file))}`

  t.strictSame(parse(url('one.pem', 'verify-full')).tls, { mode: 'verify-full', ca: one })
  t.strictSame(parse(url('two.pem', 'verify-ca')).tls, { mode: 'verify-ca', ca: both })

  t.test('sslrootcert with sslmode=require verifies as verify-ca does, as in libpq', async t => {
    t.strictSame(parse(url('one.pem', 'require')).tls, { mode: 'verify-ca', ca: one })
  })

  t.test('an sslrootcert file that cannot be used is an error', async t => {
    const unusable = [
      'absent.pem',
      'key.pem',
      'empty.pem',
      'cut.pem',
      'second-cut.pem',
      'second-damaged.pem',
      'large.pem',
      'many-cut.pem',
      'folder',
      'a\nb'
    ]
    for (const file of unusable) t.equal(ruleOf(url(file, 'verify-full')), ROOT_FILE, file)
    t.equal(ruleOf(url('absent.pem', 'require')), ROOT_FILE)
  })

  const pipe = spawnSync('mkfifo', [join(directory, 'pipe')])
  t.test('a pipe is not read', { skip: pipe.status !== 0 && 'mkfifo is missing' }, async t => {
    t.equal(ruleOf(url('pipe', 'verify-full')), ROOT_FILE)
  })

  t.test('sslrootcert with a mode that does not verify is an error', async t => {
    t.equal(ruleOf(url('one.pem', 'disable')), ROOT_MODE)
    t.equal(ruleOf(url('one.pem', 'prefer')), ROOT_MODE)
    t.equal(ruleOf(`postgres://h?sslrootcert=${join(directory, 'one.pem')}`), ROOT_MODE, 'also with the default mode')
  })
})

t.test('sslrootcert=system means the roots of the system, and verify-full unless sslmode is verify-ca', async t => {
  t.strictSame(parse('postgres://h?sslrootcert=system').tls, { mode: 'verify-full', ca: undefined })
  t.strictSame(parse('postgres://h?sslrootcert=system&sslmode=verify-full').tls, { mode: 'verify-full', ca: undefined })
  t.strictSame(parse('postgres://h?sslrootcert=system&sslmode=verify-ca').tls, { mode: 'verify-ca', ca: undefined })
  for (const mode of ['disable', 'prefer', 'require']) {
    t.equal(ruleOf(`postgres://h?sslrootcert=system&sslmode=${mode}`), SYSTEM_MODE, mode)
  }
})

t.test('channel_binding and connect_timeout are accepted without effect', async t => {
  for (const value of ['disable', 'prefer', 'require']) {
    t.strictSame(parse(`postgres://h?channel_binding=${value}`), DEFAULTS, value)
  }
  t.strictSame(parse('postgres://h?connect_timeout=10'), DEFAULTS)
})

t.test('target_session_attrs chooses the server', async t => {
  for (const value of ['any', 'read-write', 'primary']) {
    t.equal(parse(`postgres://h?target_session_attrs=${value}`).targetSessionAttrs, value)
  }
})

t.test('application_name is at most 63 printable ASCII characters', async t => {
  t.equal(parse('postgres://h?application_name=my%20app~').applicationName, 'my app~')
  t.equal(parse(`postgres://h?application_name=${'a'.repeat(63)}`).applicationName, 'a'.repeat(63))
})

t.test('a URL that breaks a rule is rejected with the rule', async t => {
  const cases: [rule: string, ...urls: string[]][] = [
    [SCHEME, '', 'h', 'postgres:/h', 'postgre://h', 'POSTGRES://h', ' postgres://h', 'https://h', 'host=h user=u'],
    [LENGTH, `postgres://h/${'d'.repeat(4096)}`],
    [UNICODE, 'postgres://u:\ud800@h', 'postgres://u:\udca3@h', 'postgres://u:\udca3\ud83d@h'],
    [SPACE, 'postgres://u:p\u00a0w@h', 'postgres://h\ufeff'],
    [SPACE, 'postgres://u:p w@h', 'postgres://u:p#w@h', 'postgres://h\n', 'postgres://u:\0@h', 'postgres://u:\x7f@h'],
    [
      AT,
      'postgres://u:p@w@h/d',
      'postgres://u@x:p@h/d',
      'postgres://u:p/w@h/d',
      'postgres://u:1/w@h/d',
      'postgres://u:p?w@h/d',
      'postgres://u:p@h/d@e',
      'postgres://h?user=a@b'
    ],
    [ENCODING, 'postgres://u:%@h', 'postgres://u:%4@h', 'postgres://u:%zz@h', 'postgres://%ff', 'postgres://h/%c3'],
    [ENCODING, 'postgres://u:%ed%a0%80@h', 'postgres://h?user=%', 'postgres://h?%=1', 'postgres://h:%/d'],
    [ENCODING, 'postgres://h?sslmode=%', 'postgres://h?application_name=%', 'postgres://h?connect_timeout=%'],
    [ZERO, 'postgres://u%00@h', 'postgres://u:%00@h', 'postgres://h%00', 'postgres://h/%00', 'postgres://h?user=%00'],
    [ZERO, 'postgres://%2Fdir%00', 'postgres://h?application_name=%00', 'postgres://h?sslrootcert=/a%00'],
    [
      NO_HOST,
      'postgres://',
      'postgres://[]',
      'postgres:///',
      'postgres:///d',
      'postgres://u:p@/d',
      'postgres://:5432/d'
    ],
    [NO_HOST, 'postgres://a,,b', 'postgres://a,', 'postgres://,', 'postgres:///d?host=', 'postgres:///d?host=a,'],
    [HOST, 'postgres://::1', 'postgres://::1/d', 'postgres://[::1', 'postgres://[::1]z'],
    [HOST, 'postgres://[::g]', 'postgres://[fe80::1%25eth0]', 'postgres://[h]', 'postgres://a[::1]', 'postgres://a]'],
    [HOST, 'postgres://a%2Cb', 'postgres://a%20b', 'postgres://a%3A1', 'postgres://dir%2Fname', 'postgres://%40name'],
    [HOST, 'postgres:///d?host=a%2Cb', 'postgres:///d?host=a:1', 'postgres:///d?host=run/postgresql'],
    [HOST, 'postgres:///d?host=fe80::1%25eth0', 'postgres:///d?host=[/dir]', `postgres://${'a'.repeat(254)}`],
    [PORT, 'postgres://h:0', 'postgres://h:65536', 'postgres://h:-1', 'postgres://h:1.5', 'postgres://h:x'],
    [
      PORT,
      'postgres://h:%2B1',
      'postgres://h:1%20',
      'postgres://h:123456',
      'postgres://h?port=1%2C2',
      'postgres://u:p'
    ],
    [PORT_COUNT, 'postgres://a,b?port=1,2,3', 'postgres://a?port=1,2', 'postgres:///d?host=a,b,c&port=1,2'],
    [SOCKET_PATH, `postgres:///d?host=/${'d'.repeat(107)}`],
    [PAIR, 'postgres://h?sslmode', 'postgres://h?user=a=b', 'postgres://h?&', 'postgres://h?user=a&&port=1'],
    [
      UNKNOWN,
      'postgres://h?pgbouncer=true',
      'postgres://h?=a',
      'postgres://h?hunter2=1',
      'postgres://h?SSLMODE=require'
    ],
    [UNKNOWN, 'postgres://h?__proto__=1', 'postgres://h?constructor=1', 'postgres://h?sslmode%20=require'],
    ['sslmode must be one of disable, prefer, require, verify-ca, verify-full', 'postgres://h?sslmode=allow'],
    ['sslmode must be one of disable, prefer, require, verify-ca, verify-full', 'postgres://h?sslmode='],
    ['channel_binding must be one of disable, prefer, require', 'postgres://h?channel_binding=1'],
    ['target_session_attrs must be one of any, read-write, primary', 'postgres://h?target_session_attrs=standby'],
    [
      'application_name must be at most 63 printable ASCII characters',
      `postgres://h?application_name=${'a'.repeat(64)}`
    ],
    ['application_name must be at most 63 printable ASCII characters', 'postgres://h?application_name=%C3%A9'],
    ['application_name must be at most 63 printable ASCII characters', 'postgres://h?application_name=%0A'],
    ['connect_timeout must be a positive integer', 'postgres://h?connect_timeout=0', 'postgres://h?connect_timeout='],
    ['connect_timeout must be a positive integer', 'postgres://h?connect_timeout=1s', 'postgres://h?connect_timeout=-1']
  ]
  for (const [rule, ...urls] of cases) for (const url of urls) t.equal(ruleOf(url), rule, JSON.stringify(url))
})

t.test('a value that is given twice is rejected, in any two places', async t => {
  for (const name of SUPPORTED) {
    const rule = `${name} must be given only once`
    t.equal(ruleOf(`postgres://x?${name}=1&${name}=1`), rule, name)
  }
  const cases: [name: string, url: string][] = [
    ['user', 'postgres://me@h?user=me'],
    ['password', 'postgres://me:p@h?password=p'],
    ['host', 'postgres://h?host=h'],
    ['host', 'postgres://a,b?host=a,b'],
    ['host', 'postgres://,b?host=a'],
    ['port', 'postgres://h:1?port=1'],
    ['port', 'postgres://a,b:1?port=1'],
    ['dbname', 'postgres://h/d?dbname=d']
  ]
  for (const [name, url] of cases) t.equal(ruleOf(url), `${name} must be given only once`, url)
})

t.test('a parameter of libpq that is not supported is named', async t => {
  const names = ['sslnegotiation', 'sslcert', 'sslkey', 'options', 'keepalives', 'keepalives_idle', 'gssencmode']
  for (const name of [
    ...names,
    'hostaddr',
    'service',
    'passfile',
    'requiressl',
    'ssl',
    'sslcrl',
    'sslsni',
    'replication'
  ]) {
    t.equal(ruleOf(`postgres://h?${name}=1`), `the parameter ${name} is not supported`)
  }
})

t.test('docs/configuration.md documents every parameter that is supported, and no other', async t => {
  const document = readFileSync(join(projectRoot, 'docs/configuration.md'), 'utf8')
  const [, section = ''] = /\n## `DATABASE_URL`\n(.*?)(?:\n## |$)/s.exec(document) ?? []
  const documented = [...section.matchAll(/^\| `([a-z_]+)` \|/gm)].map(([, name]) => name)
  t.strictSame(documented.sort(), [...SUPPORTED].sort())
})

/** Any text that Postgres can store: no character 0, no lone surrogate. */
const text = (maxLength: number) =>
  fc.string({ unit: codePoint, minLength: 1, maxLength }).filter(one => !one.includes('\0'))

const tcpHost = fc.oneof(
  fc.domain().filter(name => name.length <= 253),
  fc.ipV4(),
  fc.ipV6().map(address => `[${address}]`),
  fc.string({ unit: fc.constantFrom(...'abcXYZ019._-éß한'), minLength: 1, maxLength: 40 })
)
const socketDirectory = text(20).map(name => `/${name}`)
const port = fc.integer({ min: 1, max: 65_535 })

t.test('what encodeURIComponent has encoded is parsed back exactly', async () => {
  const urls = fc.record({
    user: text(40),
    password: fc.option(text(40), { nil: undefined }),
    database: text(40),
    hosts: fc.array(fc.record({ name: fc.oneof(tcpHost, socketDirectory), port: fc.option(port) }), {
      minLength: 1,
      maxLength: 3
    }),
    asParameters: fc.boolean()
  })
  fc.assert(
    fc.property(urls, ({ user, password, database, hosts, asParameters }) => {
      const encodedHosts = hosts.map(({ name }) => (name.startsWith('[') ? name : encodeURIComponent(name)))
      const url = asParameters
        ? `postgres:///?${[
            `user=${encodeURIComponent(user)}`,
            ...(password === undefined ? [] : [`password=${encodeURIComponent(password)}`]),
            `dbname=${encodeURIComponent(database)}`,
            `host=${encodedHosts.map(name => name.replace(/^\[(.*)\]$/, '$1')).join(',')}`,
            `port=${hosts.map(one => one.port ?? '').join(',')}`
          ].join('&')}`
        : `postgresql://${encodeURIComponent(user)}${password === undefined ? '' : `:${encodeURIComponent(password)}`}@${hosts
            .map((one, i) => `${encodedHosts[i]}${one.port === null ? '' : `:${one.port}`}`)
            .join(',')}/${encodeURIComponent(database)}`
      const expected = hosts.map(({ name, port }) =>
        name.startsWith('/')
          ? { path: `${name}/.s.PGSQL.${port ?? 5432}` }
          : { host: name.replace(/^\[(.*)\]$/, '$1'), port: port ?? 5432 }
      )
      assert.deepEqual(parse(url), { ...DEFAULTS, hosts: expected, user, password, database })
    }),
    { numRuns: 2_000 }
  )
})

/** Characters with a meaning in URLs, and others of which no rule contains four in a row. */
const SECRET_CHARACTERS = [...'QXZJVW비밀번호@:/?#%&=,[]+']
const WINDOW = 4

/** Whether a text contains four consecutive characters of one of the secrets. */
function leaks(said: string, secrets: string[]): boolean {
  return secrets.some(secret =>
    Array.from({ length: Math.max(0, secret.length - WINDOW + 1) }, (_, i) => secret.slice(i, i + WINDOW)).some(part =>
      said.includes(part)
    )
  )
}

/** A rule, or one that names a parameter of libpq. */
function isRule(message: string): boolean {
  return FIXED_RULES.has(message) || /^the parameter [a-z_]+ is not supported$/.test(message)
}

/** @returns why the result is wrong; undefined when the URL is parsed, or rejected as it must be */
function fault(url: string, secrets: string[]): string | undefined {
  try {
    const { hosts, user, database } = parse(url)
    return hosts.length > 0 && user !== '' && database !== '' ? undefined : 'an incomplete target'
  } catch (err) {
    if (!(err instanceof DatabaseUrlError)) return `another error: ${String(err)}`
    if (!isRule(err.message)) return `no rule: ${err.message}`
    // Everything that a logger may print, except the stack: its file:/// may also be part of a secret.
    return leaks(inspect([err.message, { ...err }, err.cause]), secrets) ? `a secret in ${err.message}` : undefined
  }
}

t.test('any text is parsed, or rejected by a rule that does not contain any of it', async () => {
  const parts = fc.array(
    fc.oneof(
      fc.string({ unit: fc.constantFrom(...SECRET_CHARACTERS), minLength: 1, maxLength: 12 }),
      fc.constantFrom(
        'postgres://',
        '@',
        ':',
        '/',
        '?',
        '&',
        '=',
        ',',
        '[::1]',
        '%2F',
        '%',
        '%00',
        '%ff',
        '\ud800',
        '\0'
      ),
      fc.constantFrom(
        'host=',
        'port=',
        'user=',
        'password=',
        'dbname=',
        'sslmode=',
        'sslrootcert=',
        'options=',
        '5432'
      ),
      fc.string({ unit: codePoint, maxLength: 8 })
    ),
    { maxLength: 16 }
  )
  const urls = fc.tuple(fc.constantFrom('', 'postgres://', 'postgresql://'), parts)
  fc.assert(
    fc.property(urls, ([scheme, pieces]) => {
      const secrets = pieces.filter(piece => [...piece].every(one => SECRET_CHARACTERS.includes(one)))
      assert.equal(fault(`${scheme}${pieces.join('')}`, secrets), undefined)
    }),
    { numRuns: 5_000 }
  )
})

t.test('a damaged URL is parsed, or rejected by a rule that contains no secret', async () => {
  const secret = fc.string({ unit: fc.constantFrom(...SECRET_CHARACTERS), minLength: WINDOW, maxLength: 24 })
  const name = fc.string({ unit: fc.constantFrom(...'QXZJVW'), minLength: WINDOW, maxLength: 24 })
  const damage = fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    remove: fc.nat(3),
    insert: fc.constantFrom(
      '',
      '@',
      ':',
      '/',
      '?',
      '#',
      '%',
      '&',
      '=',
      ',',
      '[',
      ']',
      ' ',
      '\0',
      '\ud800',
      '%00',
      '%zz'
    )
  })
  const cases = fc.record({
    user: secret,
    password: secret,
    host: name,
    encoded: fc.boolean(),
    query: fc.constantFrom('', '?sslmode=require', '?sslrootcert=', '?password=', '?options='),
    damages: fc.array(damage, { maxLength: 4 })
  })
  fc.assert(
    fc.property(cases, ({ user, password, host, encoded, query, damages }) => {
      const write = encoded ? encodeURIComponent : (one: string) => one
      const valid = `postgres://${write(user)}:${write(password)}@${host}:6432/db${query}${query.endsWith('=') ? write(password) : ''}`
      const url = damages.reduce((one, { at, remove, insert }) => {
        const place = Math.floor(at * one.length)
        return one.slice(0, place) + insert + one.slice(place + remove)
      }, valid)
      assert.equal(fault(url, [user, password, host, write(user), write(password)]), undefined)
    }),
    { numRuns: 5_000 }
  )
})

t.test('the longest URLs are parsed or rejected within a second of CPU time', async t => {
  const pieces = [
    'a',
    ',',
    ':',
    '@',
    '/',
    '?',
    '&',
    '=',
    '[',
    '%',
    '%41',
    'a:1,',
    '[::1]:1,',
    '[::1',
    'user=a&',
    '한',
    'a=',
    ':@'
  ]
  for (const start of [
    'postgres://',
    'postgres://u:',
    'postgres://u:p@',
    'postgres://h/',
    'postgres://h?',
    'postgres:///d?host='
  ]) {
    for (const piece of pieces) {
      const url = `${start}${piece.repeat(4096)}`.slice(0, 4096)
      const before = process.cpuUsage()
      t.equal(fault(url, []), undefined, `${start}${piece}…`)
      const { user, system } = process.cpuUsage(before)
      const tookMs = (user + system) / 1_000
      t.ok(tookMs < 1_000, `${start}${piece}… took ${Math.round(tookMs)} ms`)
    }
  }
  t.equal(ruleOf(`postgres://${'%'.repeat(10_000_000)}`), LENGTH)
})
