// Documents quote a log message as "the log line `message`" or in a table whose first column is "log line".
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { documents, withoutCodeBlocks } from '../support/documents.ts'
import { projectRoot } from '../support/project.ts'

const LOG_CALL = /\blog(?:ger)?\??\.(trace|debug|info|warn|error|fatal)\(/g

/** The messages that a poller logs are its options (`src/async/poller.ts`). */
const POLLER_MESSAGE = /\b(failedMessage|recoveredMessage): '([^']+)'/g

/**
 * The messages that a source logs: those of pollers, and those of all log calls, which are the texts in the last
 * argument, of which `a ? 'x' : 'y'` has two.
 */
function messagesOf(source: string): { level: string; message: string }[] {
  const polled = [...source.matchAll(POLLER_MESSAGE)].map(([, option, message = '']) => ({
    level: option === 'failedMessage' ? 'warn' : 'info',
    message
  }))
  const called = [...source.matchAll(LOG_CALL)].flatMap(({ 0: call, 1: level = '', index }) =>
    textsOf(lastArgument(source, index + call.length)).map(message => ({ level, message }))
  )
  return [...polled, ...called]
}

/** The last argument of a call whose arguments begin at `start`. */
function lastArgument(source: string, start: number): string {
  let [depth, from] = [0, start]
  for (let at = start; at < source.length; at++) {
    const char = source[at] ?? ''
    if (`'"\``.includes(char)) at = endOfText(source, at)
    else if ('([{'.includes(char)) depth++
    else if (char === ',' && depth === 0) from = at + 1
    else if (')]}'.includes(char) && depth-- === 0) return source.slice(from, at)
  }
  return ''
}

function endOfText(source: string, start: number): number {
  for (let at = start + 1; at < source.length; at++) {
    if (source[at] === '\\') at++
    else if (source[at] === source[start]) return at
  }
  return source.length
}

function textsOf(argument: string): string[] {
  return [...argument.matchAll(/'((?:[^'\\\n]|\\.)*)'/g)].map(([, text = '']) => text)
}

/** The log messages that a document quotes. */
function quotedIn(markdown: string): string[] {
  const prose = withoutCodeBlocks(markdown)
  const lists = [...prose.matchAll(/\blog lines?(?: is)? ((?:`[^`]+`(?:, | and | or )?)+)/g)].map(
    ([, list = '']) => list
  )
  const tables = [...prose.matchAll(/^\| log line \|.*\n\|[-|]+\|\n((?:\|.*\n)*)/gm)].flatMap(([, rows = '']) =>
    rows.split('\n').map(row => row.split('|')[1] ?? '')
  )
  return [...lists, ...tables].flatMap(text => [...text.matchAll(/`([^`]+)`/g)].map(([, message = '']) => message))
}

const logged = ['src', 'plugins', 'routes'].flatMap(folder =>
  readdirSync(join(projectRoot, folder), { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.ts'))
    .flatMap(name => messagesOf(readFileSync(join(projectRoot, folder, name), 'utf8')))
)
const messages = new Set(logged.map(({ message }) => message))
/** The changelog quotes messages of earlier versions. */
const current = documents().filter(({ file }) => file !== 'CHANGELOG.md')

t.test('the messages of log calls are found in the source', async t => {
  t.strictSame(messagesOf("this.#log.warn({ err, a: f(1, '2') }, paused ? 'one, two' : 'three')\nlog.info('four')"), [
    { level: 'warn', message: 'one, two' },
    { level: 'warn', message: 'three' },
    { level: 'info', message: 'four' }
  ])
  t.strictSame(messagesOf("log,\nfailedMessage: 'poll failed',\nrecoveredMessage: 'poll succeeded'"), [
    { level: 'warn', message: 'poll failed' },
    { level: 'info', message: 'poll succeeded' }
  ])
  t.ok(messages.size > 60, `messages: ${messages.size}`)
})

t.test('the quotations of log lines are found in a document', async t => {
  const markdown = [
    'The log line `one` has it, the log lines `two`, `three` and `four` too. The log line is `five`; not `six`.',
    '',
    '| log line | level | meaning |',
    '|---|---|---|',
    '| `seven` | warn | not `eight` |',
    ''
  ]
  t.strictSame(quotedIn(markdown.join('\n')).sort(), ['five', 'four', 'one', 'seven', 'three', 'two'])
})

t.test('every log line that a document quotes is logged', async t => {
  const quoted = current.flatMap(({ file, text }) => quotedIn(text).map(message => ({ file, message })))
  t.ok(quoted.length > 25, `quoted: ${quoted.length}`)
  t.strictSame(
    quoted.filter(({ message }) => !messages.has(message)),
    []
  )
})

t.test('the levels of quoted log lines are those of their calls', async t => {
  const text = current.find(({ file }) => file === 'docs/operations.md')?.text ?? ''
  const rows = [...text.matchAll(/^\| `([^`]+)` \| (trace|debug|info|warn|error|fatal) \|/gm)]
  t.ok(rows.length > 10, `rows: ${rows.length}`)
  for (const [, message, level] of rows) {
    const levels = logged.filter(one => one.message === message).map(one => one.level)
    t.ok(levels.includes(level ?? ''), `${message}: ${level} is one of ${levels.join(', ')}`)
  }
})

t.test('a document names a log message as a log line', async t => {
  const spans = current.flatMap(({ file, text }) => {
    const quoted = new Set(quotedIn(text))
    return [...withoutCodeBlocks(text).matchAll(/`([^`\n]+)`/g)]
      .map(([, span = '']) => span)
      .filter(span => span.includes(' ') && messages.has(span) && !quoted.has(span))
      .map(span => `${file}: ${span}`)
  })
  t.strictSame(spans, [])
})
