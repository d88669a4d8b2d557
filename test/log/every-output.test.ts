// Lists every place that writes to the log or to the terminal. A new one must be added here, with the reason why it
// contains no secret.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { isCallExpression, isIdentifier, isNewExpression, isPropertyAccessExpression } from 'typescript/unstable/ast'
import { projectRoot } from '../support/project.ts'
import { parsed, type SourceText, visit } from '../support/syntax-tree.ts'

const sources: SourceText[] = ['src', 'plugins', 'routes'].flatMap(folder =>
  readdirSync(join(projectRoot, folder), { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.ts'))
    .map(name => join(folder, name))
    .map(file => ({ file, text: readFileSync(join(projectRoot, file), 'utf8') }))
)

/** The calls of functions whose text matches, as `file: function(first argument)`, without `$`. */
function calls(called: RegExp, texts: readonly SourceText[] = sources): string[] {
  return parsed(texts, (file, root) => {
    const found: string[] = []
    visit(root, node => {
      if (!isCallExpression(node) && !isNewExpression(node)) return
      const text = node.expression.getText(root)
      if (called.test(text))
        found.push(
          `${file}: ${text}(${node.arguments?.[0]?.getText(root).replace(/\s+/g, ' ').replaceAll('${', '{') ?? ''})`
        )
    })
    return found
  }).sort()
}

/** The files that use a name as a value or as part of an expression. */
function users(name: string): string[] {
  return parsed(sources, (file, root) => {
    let used = false
    visit(root, node => {
      if (isPropertyAccessExpression(node) && node.expression.getText(root) === name) used = true
      if (isCallExpression(node) && isIdentifier(node.expression) && node.expression.getText(root) === name) used = true
    })
    return used ? [file] : []
  })
}

t.test('one function makes loggers, and one per thread calls it', async t => {
  t.strictSame(calls(/^pino$/), [`src/log/logger.ts: pino(${argumentOfPino()})`])
  t.strictSame(
    calls(/^createLogger$/).map(call => call.split(':')[0]),
    ['src/health/probe-thread.ts', 'src/server.ts']
  )
  t.strictSame(users('pino'), ['src/log/logger.ts'])
  t.strictSame(users('console'), [])
  t.strictSame(calls(/^(abstractLogging|winston|bunyan|debuglog|util\.debuglog|inspect|util\.inspect)$/), [])
})

function argumentOfPino(): string {
  const [call = ''] = calls(/^pino$/)
  return call.slice('src/log/logger.ts: pino('.length, -1)
}

t.test('the server of the main port uses this logger, and no other Fastify server logs', async t => {
  const made = calls(/^[Ff]astify$/)
  t.strictSame(
    made.map(call => call.replace(/logger,[\s\S]*/, 'logger')),
    // Without a logger: it only reads the routes for the document.
    ['plugins/openapi.ts: Fastify()', 'src/app.ts: Fastify({ loggerInstance: logger']
  )
})

t.test('every thread is listed: its errors are sent to the main thread, which logs them', async t => {
  t.strictSame(
    calls(/^Worker$/).map(call => call.split(',')[0]),
    ['src/auth/passwords.ts: Worker(join(sourceDir', 'src/health/probe-thread-supervisor.ts: Worker(join(sourceDir']
  )
})

t.test('every program prints an uncaught error without its properties', async t => {
  t.strictSame(calls(/^printUncaught$/), [
    "src/cli/cli.ts: printUncaught('admin')",
    "src/health/health-check.ts: printUncaught('health check')",
    "src/server.ts: printUncaught('start')"
  ])
})

t.test('every direct output is listed', async t => {
  t.strictSame(
    calls(
      /(^|\.)(stdout|stderr|terminal)\.(write|end)$|^(writeSync|fs\.writeSync|process\._rawDebug|process\.emitWarning)$/
    ),
    [
      // Messages of this service, and the messages of other errors without values.
      'src/cli/cli.ts: process.stderr.write(`{messageOf(err)}\\n`)',
      'src/cli/cli.ts: process.stdout.write(`{result.text}\\n`)',
      "src/cli/read-secret.ts: process.stderr.write('\\n')",
      'src/cli/read-secret.ts: process.stderr.write(prompt)',
      // A message of ConfigError never has the value of a setting.
      'src/health/health-check.ts: process.stdout.write(`{err.message}\\n`)',
      'src/health/health-check.ts: process.stdout.write(`{line}\\n`)',
      // The lines of the logger.
      'src/log/log-destination.ts: writeSync(fd)',
      // The fields of the error that the log would have.
      'src/log/uncaught.ts: process.stderr.write(`{what}: {JSON.stringify(errorFields(err))}\\n`)',
      'src/server.ts: process.stderr.write(`configuration: {err.message}\\n`)',
      'src/server.ts: process.stderr.write(`start: {message}\\n`)',
      'src/server.ts: process.stderr.write(shutdownText())',
      // The password of the first admin, on a terminal.
      'src/server.ts: terminal.write(text)'
    ]
  )
})

t.test('an error message is not a field of a log line, except for errors of this service without values', async t => {
  const logged = calls(/\blog(ger)?\.(trace|debug|info|warn|error|fatal)$/)
  t.strictSame(
    logged.filter(call => /\.(message|stack)\b|String\(err|\bcause\b/.test(call)),
    [
      // The cause of a verdict is an error, which the serializer of `err` handles.
      'src/health/probe-thread.ts: log.warn({ from, to, err: cause })',
      'src/scheduler/run.ts: this.#log.error({ err: cause })',
      'src/server.ts: log.fatal({ reason: err.message })'
    ]
  )
})

t.test('calls are found in any form', async t => {
  const text = "import { pino } from 'pino'\nconst a = pino({})\nnew Worker('x')\nthis.out.stderr.write(`a`)\n"
  t.strictSame(calls(/^(pino|Worker)$|stderr\.write$/, [{ file: 'a.ts', text }]), [
    "a.ts: Worker('x')",
    'a.ts: pino({})',
    'a.ts: this.out.stderr.write(`a`)'
  ])
})
