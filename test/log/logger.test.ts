import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import t from 'tap'
import { errorFields, errorMessage } from '../../src/log/error-fields.ts'
import { createLogger } from '../../src/log/logger.ts'
import { migratedDatabase, openDatabase } from '../support/migrated-database.ts'
import { spawnNode } from '../support/node-process.ts'

const SECRET = 'hunter2'
const RUNS = 300

function captured() {
  const lines: string[] = []
  return { lines, log: createLogger({ level: 'trace', base: {} }, { write: line => void lines.push(line) }) }
}

/** Adds the secret to properties of every kind to an error. */
function withSecrets(err: object): object {
  const throwing = {
    get: () => {
      throw new Error(SECRET)
    },
    enumerable: true,
    configurable: true
  }
  Object.assign(err, {
    input: `postgres://user:${SECRET}@host/db`,
    detail: `Key (name)=(${SECRET}) already exists.`,
    where: SECRET,
    query: SECRET,
    parameters: [SECRET],
    headers: { authorization: SECRET },
    [SECRET]: SECRET,
    [Symbol(SECRET)]: SECRET,
    constraint_name: `${SECRET} with a space`,
    table_name: { [SECRET]: SECRET },
    code: { toString: () => SECRET },
    syscall: [SECRET],
    toJSON: () => SECRET,
    toString: () => SECRET
  })
  Object.defineProperty(err, 'name', { value: SECRET, enumerable: true, configurable: true })
  Object.defineProperty(err, 'constructor', { value: { name: SECRET }, enumerable: true, configurable: true })
  Object.defineProperty(err, 'hidden', { value: SECRET, enumerable: false })
  Object.defineProperty(err, 'throwing', throwing)
  return err
}

class LibraryError extends Error {
  get secret(): string {
    return SECRET
  }
}
Object.defineProperty(LibraryError.prototype, 'inherited', { value: SECRET, enumerable: true })

const messages = [
  `postgres://user:${SECRET}@db.example/trading is not a URL`,
  `postgres://user:a/${SECRET}@db.example/trading is not a URL`,
  `GET https://api.example/v1?signature=${SECRET} failed`,
  `https://api.telegram.org/bot123:${SECRET}/getMe failed`,
  `password=${SECRET} is refused`,
  `authorization: Bearer ${SECRET}`,
  `invalid input syntax for type numeric: "${SECRET}"`,
  `invalid input syntax for type numeric: "a"b ${SECRET}"`,
  `invalid value for parameter "TimeZone": "${SECRET}"`,
  `ungültige Eingabesyntax für Typ numeric: »${SECRET}«`,
  `duplicate key: Key (name, salt)=(a, (${SECRET})) already exists.`,
  `Failing row contains (1, ${SECRET}, null).`,
  `Unexpected token 'h', "${SECRET}" is not valid JSON`,
  `The "path" argument must be of type string. Received '${SECRET}'`
]

/** Errors with the secret in every property, in causes and in parts, including cyclic ones. */
function errors(depth: number): fc.Arbitrary<Error> {
  return fc
    .record({
      message: fc.constantFrom('the statement failed', ...messages),
      library: fc.boolean(),
      aggregate: fc.boolean(),
      hostileStack: fc.boolean(),
      cause: depth === 0 ? fc.constant(null) : fc.option(errors(depth - 1)),
      parts: depth === 0 ? fc.constant([]) : fc.array(errors(depth - 1), { maxLength: 2 }),
      cyclic: fc.boolean()
    })
    .map(({ message, library, aggregate, hostileStack, cause, parts, cyclic }) => {
      const err = aggregate ? new AggregateError(parts, message) : new (library ? LibraryError : Error)(message)
      if (hostileStack) err.stack = `Error: ${SECRET}\n    at ${SECRET}\n${SECRET}`
      withSecrets(err)
      if (cyclic) err.cause = err
      else if (cause) err.cause = cause
      return err
    })
}

t.test('no property of an error is in a log line, in any way of logging the error', async t => {
  const { log, lines } = captured()
  const calls: ((err: Error) => void)[] = [
    err => log.error({ err }, 'request failed'),
    err => log.error({ err }),
    err => log.error(err),
    err => log.error(err, 'request failed'),
    err => log.error({ cause: err, errors: [err], nested: { deep: { err } } }, 'request failed'),
    err => log.error({ results: [{ status: 'rejected', reason: err }] }, 'request failed'),
    err => log.error('request failed: %s %o', err, { err }),
    err => log.child({ err, other: err, nested: [err] }).info('child'),
    err => log.child({}).child({ run: 'a' }).fatal({ err }, 'job failed'),
    err =>
      log.warn(
        {
          request: new (class Request {
            err = err
          })()
        },
        'object of a class'
      ),
    err => log.warn({ err: { message: SECRET, err } }, 'thrown object'),
    err => log.warn({ err: { message: SECRET, err } })
  ]
  const property = fc.property(errors(2), fc.constantFrom(...calls), (err, call) => {
    lines.length = 0
    call(err)
    const [line = ''] = lines
    JSON.parse(line)
    if (lines.length !== 1 || line.includes(SECRET)) throw new Error(line)
    const printed = `${errorMessage(err)} ${JSON.stringify(errorFields(err))}`
    if (printed.includes(SECRET)) throw new Error(printed)
  })
  const result = fc.check(property, { numRuns: RUNS })
  t.equal(result.failed ? fc.defaultReportMessage(result) : undefined, undefined)
})

t.test('a line has the class, the message, the stack, the codes, the causes and the parts of an error', async t => {
  const { log, lines } = captured()
  const socket = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:1'), {
    code: 'ECONNREFUSED',
    syscall: 'connect',
    port: 1
  })
  const row = Object.assign(new LibraryError('duplicate key value violates unique constraint "users_pkey"'), {
    code: '23505',
    constraint_name: 'users_pkey',
    table_name: 'users',
    cause: new AggregateError([socket], 'no host answers')
  })
  log.error({ err: row }, 'request failed')
  const { err } = JSON.parse(lines[0] ?? '')
  t.hasStrict(err, {
    type: 'LibraryError',
    message: 'duplicate key value violates unique constraint "users_pkey"',
    code: '23505',
    constraint: 'users_pkey',
    table: 'users',
    cause: { type: 'AggregateError', message: 'no host answers' }
  })
  t.strictSame(Object.keys(err.cause.errors[0]), ['type', 'message', 'stack', 'code', 'syscall'])
  const [head, frame] = err.stack.split('\n')
  t.equal(head, `LibraryError: ${row.message}`)
  t.match(frame, /^ {4}at .*logger\.test/)
})

t.test('deep, cyclic and numerous causes are bounded', async t => {
  const deep = Array.from({ length: 1_000 }).reduce<Error>(
    (cause, _one, index) => new Error(`level ${index}`, { cause }),
    new Error('the first')
  )
  const many = new AggregateError(
    Array.from({ length: 1_000 }, () => new AggregateError([deep, deep], 'part')),
    'many'
  )
  for (const err of [deep, many]) {
    const { log, lines } = captured()
    log.error({ err }, 'request failed')
    const length = lines[0]?.length ?? 0
    t.ok(length > 100 && length < 100_000, `bytes: ${length}`)
  }
})

t.test('an error that cannot be read is logged', async t => {
  const { log, lines } = captured()
  const revoked = Proxy.revocable(new Error(SECRET), {})
  revoked.revoke()
  for (const err of [revoked.proxy, SECRET, 7, Symbol(SECRET), () => SECRET, [SECRET]]) log.error({ err }, 'rejected')
  t.equal(lines.length, 6)
  t.notMatch(lines.join(), new RegExp(SECRET))
})

t.test('credentials of URLs are removed from every line', async t => {
  const { log, lines } = captured()
  log.info({ main: `http://user:${SECRET}@127.0.0.1:5001` }, `using https://api.telegram.org/bot123:${SECRET}/getMe`)
  log.info({ stack: 'file:///srv/node_modules/@fastify/x.js:1:2' }, 'unchanged')
  t.equal(JSON.parse(lines[0] ?? '').main, 'http://…@127.0.0.1:5001')
  t.notMatch(lines.join(), new RegExp(SECRET))
  t.equal(JSON.parse(lines[1] ?? '').stack, 'file:///srv/node_modules/@fastify/x.js:1:2')
})

t.test('a Postgres error is logged with table and constraint, without values of a statement or a row', async t => {
  const { url } = await migratedDatabase(t)
  const database = openDatabase(url)
  t.teardown(() => database.close())
  await database.run(sql => sql`insert into users (username, password_hash) values (${SECRET}, 'one')`)
  const failing: [code: string, statement: Parameters<typeof database.run>[0]][] = [
    ['23505', sql => sql`insert into users (username, password_hash) values (${SECRET}, ${SECRET})`],
    ['22P02', sql => sql`select ${SECRET}::text::numeric`],
    ['22007', sql => sql`select ${SECRET}::text::timestamptz`],
    ['22P02', sql => sql`select ${`{"${SECRET}": ${SECRET}}`}::text::jsonb`],
    ['42601', sql => sql.unsafe(`select from ${SECRET} ${SECRET} ${SECRET}`)],
    ['22023', sql => sql`select set_config('work_mem', ${SECRET}, false)`],
    ['P0001', sql => sql.unsafe(`do $$ begin raise exception 'value "%"', '${SECRET}'; end $$`)]
  ]
  for (const [code, statement] of failing) {
    const { log, lines } = captured()
    await database.run(statement).catch((err: unknown) => log.error({ err }, 'request failed'))
    t.equal(JSON.parse(lines[0] ?? '{}').err?.code, code, lines.join())
    t.notMatch(lines.join(), new RegExp(SECRET), code)
  }
})

t.test('an error of another thread is logged as one of this thread', async t => {
  const { log, lines } = captured()
  const worker = new Worker(
    `throw Object.assign(new TypeError('broken "${SECRET}"'), { input: '${SECRET}', code: 'ERR_INVALID_URL' })`,
    { eval: true }
  )
  const [err] = await once(worker, 'error')
  log.error({ err }, 'probe thread failed')
  t.hasStrict(JSON.parse(lines[0] ?? ''), { err: { message: 'broken "…"', code: 'ERR_INVALID_URL' } })
  t.notMatch(lines.join(), new RegExp(SECRET))
})

t.test('an uncaught error before there is a logger is printed without its properties', async t => {
  const module = fileURLToPath(new URL('../../src/log/uncaught.js', import.meta.url))
  for (const failure of ['throw err', 'void Promise.reject(err)', 'setImmediate(() => { throw err })']) {
    const script = `
      import { printUncaught } from ${JSON.stringify(module)}
      printUncaught('start')
      const err = Object.assign(new Error('broken "${SECRET}"'), { input: '${SECRET}', cause: { ${SECRET}: 1 } })
      ${failure}
      setTimeout(() => {}, 60_000)`
    const child = spawnNode('--input-type=module', ['-e', script], { stdio: ['ignore', 'pipe', 'pipe'] })
    if (!child.stdout || !child.stderr) throw new Error('the process has no output')
    const [[code], stdout, stderr] = await Promise.all([once(child, 'exit'), text(child.stdout), text(child.stderr)])
    t.equal(code, 1, failure)
    t.equal(stdout, '')
    t.match(stderr, /^start: \{"type":"Error","message":"broken \\"…\\""/)
    t.notMatch(stderr, new RegExp(SECRET))
  }
})
