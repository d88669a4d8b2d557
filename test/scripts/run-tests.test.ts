import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'

const RUNNER = fileURLToPath(new URL('../../../scripts/run-tests.js', import.meta.url))
const TAP = import.meta.resolve('tap')

/** Runs test files with these contents. Only the runner itself starts with a clean environment. */
async function run(t: Test, contents: readonly string[], options: readonly string[] = []) {
  const dir = t.testdir()
  const files = contents.map((_, index) => join(dir, `${index}.test.mjs`))
  await Promise.all(files.map((file, index) => writeFile(file, contents[index] ?? '')))
  const { PATH, HOME } = process.env
  const child = spawn('env', ['-i', `PATH=${PATH}`, `HOME=${HOME}`, process.execPath, RUNNER, ...options, ...files], {
    stdio: ['ignore', 'pipe', 'pipe']
  })
  const [output, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  const order = [...output.matchAll(/^ok \d+ - .*?(\d+)\.test\.mjs/gm)].map(([, index]) => Number(index))
  return { output, errors, code, order }
}

/** The content of a file with one assertion that holds. It prints TAP itself: loading tap takes most of the time of a file. */
const PASSING = "console.log('TAP version 14\\nok 1 - passes\\n1..1')"

t.test('files that pass are subtests of one stream, and the exit code is 0', async t => {
  const { output, code, errors } = await run(t, [PASSING, PASSING])
  t.equal(code, 0)
  t.equal(errors, '')
  t.equal(output.match(/^ok \d+ - /gm)?.length, 2)
  // One assertion of each file, that it has tests, and its exit code.
  t.equal(/^# \{ total: .*$/m.exec(output)?.[0], '# { total: 6, pass: 6 }')
})

const FAILING: Readonly<Record<string, string>> = {
  'an assertion that fails': `import t from '${TAP}'
t.test('fails', async t => { t.equal(1, 2) })`,
  'an error while the file is loaded': "throw new Error('at import')",
  'a file without tests': '',
  'an exit code after tests that passed': `${PASSING}
process.exitCode = 3`,
  'a test that does not end': `import t from '${TAP}'
t.test('waits', async () => { await new Promise(resolve => setTimeout(resolve, 1e6)) })`,
  'a test that blocks its process': `import t from '${TAP}'
t.test('blocks', async () => { Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0) })`
}

t.test('a file that fails in any way fails the run', async t => {
  const names = Object.keys(FAILING)
  const { output, code } = await run(t, Object.values(FAILING), ['--timeout=1', `--jobs=${names.length}`])
  t.equal(code, 1)
  const failed = [...output.matchAll(/^not ok \d+ - .*?(\d+)\.test\.mjs/gm)].map(([, index]) => names[Number(index)])
  t.strictSame(failed.toSorted(), names.toSorted())
})

t.test('an error that nothing caught fails the innermost test that runs, and the tests after it still run', async t => {
  const { output, code } = await run(t, [
    `import t from '${TAP}'
t.test('outer', async t => {
  await t.test('throws', () => new Promise(() => setImmediate(() => { throw new Error('thrown later') })))
  await t.test('rejects', () => new Promise(() => { Promise.reject(new Error('rejected later')) }))
  await t.test('passes', async t => t.pass())
})`
  ])
  t.equal(code, 1)
  const results = [...output.matchAll(/^ {12}(?:not )?ok \d+ - (?:throws|rejects|passes)/gm)].map(([line]) =>
    line.trim()
  )
  t.strictSame(results, ['not ok 1 - throws', 'not ok 2 - rejects', 'ok 3 - passes'])
  const errors = [...output.matchAll(/^ {16}not ok \d+ - (.*)$/gm)].map(([, message]) => message)
  t.strictSame(errors, ['thrown later', 'rejected later'])
})

t.test('a seed gives an order that it repeats', async t => {
  const contents = Array.from({ length: 6 }, () => PASSING)
  const orderBy = async (seed: number) => (await run(t, contents, ['--jobs=1', `--seed=${seed}`])).order
  const first = await orderBy(7)
  t.strictSame(await orderBy(7), first)
  t.strictNotSame(await orderBy(8), first)
  t.strictSame(first.toSorted(), [0, 1, 2, 3, 4, 5])
})
