import t from 'tap'
import { ServerLog } from '../../../src/database/embedded/server-log.ts'

const line = (text: string) => `2026-11-27 22:00:00.123 UTC [42] ${text}`

t.test('without a fatal line the reason is the end of the log', async t => {
  const log = new ServerLog()
  for (const text of ['one', 'two', 'three', 'four', 'five']) log.add(line(`LOG:  ${text}`))
  t.equal(log.reason(), 'LOG: two / LOG: three / LOG: four / LOG: five')
})

t.test('the reason is the last fatal line with its detail and hint', async t => {
  const log = new ServerLog()
  const lines = [
    'LOG:  starting',
    'FATAL:  first',
    'PANIC:  second',
    'DETAIL:  why',
    'HINT:  what to do',
    'LOG:  the end'
  ]
  for (const text of lines) log.add(line(text))
  log.add('\tcontinued')
  t.equal(log.reason(), 'PANIC: second / DETAIL: why / HINT: what to do / continued')
  t.equal(log.ready, false)
})

t.test('after the server is ready, no line that may contain a value is logged', async t => {
  const log = new ServerLog()
  t.equal(log.add(line('DETAIL:  before')), true)
  t.equal(log.add(line('LOG:  database system is ready to accept connections')), true)
  t.equal(log.ready, true)
  const after = ['ERROR:  a', 'HINT:  b', 'DETAIL:  c', 'CONTEXT:  d', 'STATEMENT:  e', 'QUERY:  f', 'LOCATION:  g']
  t.strictSame(
    after.map(text => log.add(line(text))),
    [true, true, false, false, false, false, false]
  )
  t.equal(log.add('\tLOG:  a line of a value'), false)
  t.equal(log.add('LOG:  a line of a value'), false)
})
