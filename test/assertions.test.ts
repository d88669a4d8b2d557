import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { looseAssertions } from './support/loose-assertions.ts'
import { projectRoot } from './support/service.ts'

/** The reasons against the statements of a file, without its name. */
function check(...lines: string[]): string[] {
  return looseAssertions([{ file: 'sample.test.ts', text: lines.join('\n') }]).map(line =>
    line.replace('sample.test.ts:', '')
  )
}

t.test('the assertions of all tests are exact and show the numbers that they compare', async t => {
  const sources = readdirSync(join(projectRoot, 'test'), { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.ts'))
    .sort()
    .map(name => ({ file: join('test', name), text: readFileSync(join(projectRoot, 'test', name), 'utf8') }))
  t.ok(sources.length > 80, `files: ${sources.length}`)
  t.strictSame(looseAssertions(sources), [])
})

t.test('a partial match with an array literal is found, at any depth and behind the name of a variable', async t => {
  t.strictSame(
    check(
      `t.match(rows, [{ outcome: 'skipped' }])`,
      `t.hasStrict(answer, { status: 200, body: { runs: [] } })`,
      `t.has(answer, { body: { a, ...{ runs: [...ids] } } })`,
      `const expected = { runs: [1] }`,
      `t.match(answer, expected)`,
      `const runs = [1]`,
      `t.match(answer, { runs })`,
      `await t.rejects(call, { missing: ['a'] })`,
      `t.throws(() => call(), { missing: ['a'] })`,
      `t.match(answer, ['a'].map(id => ({ id })))`,
      `const one = id => [{ id }]`,
      `t.match(answer, one('a'))`
    ),
    [
      '1: match accepts surplus elements of an array',
      '2: hasStrict accepts surplus elements of an array',
      '3: has accepts surplus elements of an array',
      '5: match accepts surplus elements of an array',
      '7: match accepts surplus elements of an array',
      '8: rejects accepts surplus elements of an array',
      '9: throws accepts surplus elements of an array',
      '10: match accepts surplus elements of an array',
      '12: match accepts surplus elements of an array'
    ]
  )
})

t.test('a match with a text that has a digit, or that is put together, is found', async t => {
  t.strictSame(
    check(
      `t.match(row, { realized_pnl: '11' })`,
      `t.match(text, 'the port 80')`,
      `t.match(text, \`the port \${port}\`)`,
      't.match(text, { day: `2026-01-01` })',
      `const pnl = '11'`,
      `t.match(row, { pnl })`,
      `await t.rejects(call, { message: 'no 2' })`
    ),
    [
      '1: match finds a text with a digit inside other texts',
      '2: match finds a text with a digit inside other texts',
      '3: match finds a text with a digit inside other texts',
      '4: match finds a text with a digit inside other texts',
      '6: match finds a text with a digit inside other texts',
      '7: rejects finds a text with a digit inside other texts'
    ]
  )
})

t.test('a comparison whose message does not show a compared value is found', async t => {
  t.strictSame(
    check(
      `t.equal(calls <= 4, true)`,
      `t.equal(calls > 4, false, 'at most 4')`,
      `t.ok(calls < 4)`,
      `t.ok(text && !(calls < 4), 'at most 4')`,
      `t.notOk(calls >= 4)`,
      `t.ok(calls < 4, \`at most \${limit}\`)`,
      `t.ok(all.every(call => call.ms < 4))`,
      `t.ok(body.calls < 4, \`\${other.calls}\`)`
    ).map(line => line.split(': ')),
    [1, 2, 3, 4, 5, 6, 7, 8].map(line => [`${line}`, 'the message does not show the compared value'])
  )
})

t.test('a comparison with == is found', async t => {
  t.strictSame(check(`t.same('1', 1)`, `t.notSame('1', 2)`), [
    '1: same compares with ==',
    '2: notSame compares with =='
  ])
})

t.test('exact assertions, and comparisons that show their values, pass', async t => {
  t.strictSame(
    check(
      `t.strictSame(rows, [{ outcome: 'skipped', pnl: '11' }])`,
      `t.hasStrict(row, { outcome: 'skipped', pnl: '11' })`,
      `t.match(answer, { status: 200, body: { code: 'not_found', 'key-1': String } }, 'message 1')`,
      `t.match(text, /port 80/)`,
      `t.match(text, new RegExp('port 80'))`,
      `t.notMatch(text, 'port 80')`,
      `t.match(answer, { id: ids['1'], name: texts.v1 })`,
      `text.match('1')`,
      `const unrelated = ['1']`,
      `t.match(answer, { unrelated: 1, id: answers.unrelated })`,
      `t.ok(calls <= 4, \`at most 4: \${calls}\`)`,
      `t.equal(run.calls <= 4, true, \`at most 4: \${run.calls}\`)`,
      `t.ok(all.every(call => call.ms < 4), JSON.stringify(all))`,
      `t.ok(isDone)`,
      `t.equal(isDone, true)`,
      `t.ok(a === b || !a)`
    ),
    []
  )
})
