// npm test: runs compiled test files as subtests of one TAP stream, several at a time, each in a process of its own.
// tap's own runner loads hooks into each process that record its modules for coverage, which is half of the CPU time of
// the suite. The files are the same: `npx tap build/test/<file>` runs one with that runner.
//
//   node scripts/run-tests.js [--jobs=3] [--timeout=300] [--seed=7|random] [build/test/system …]
//
// Without paths: all unit tests. The files that took longest in earlier runs are first, so that no processor waits for
// them at the end. --seed: in a random order. Prints the five slowest files. On a terminal tap's reporter shows the
// progress.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const SYSTEM = 'build/test/system/'
/** The seconds that each file took when it last ran. */
const DURATIONS = fileURLToPath(new URL('../build/test-durations.json', import.meta.url))
/** From the report of an unfinished test to the end of its process. */
const GRACE_MS = 2_000

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    // The files often wait: three on two processors use both.
    jobs: { type: 'string', default: '3' },
    timeout: { type: 'string', default: '300' },
    seed: { type: 'string' }
  }
})

/** Test files at a path, or below it. */
function testsIn(path) {
  if (!statSync(path).isDirectory()) return [path]
  return readdirSync(path, { recursive: true })
    .filter(name => name.endsWith('.test.js'))
    .map(name => join(path, name))
    .sort()
}

/** None before the first run, and none where a run was killed while it wrote them. */
function knownDurations() {
  try {
    return JSON.parse(readFileSync(DURATIONS, 'utf8'))
  } catch {
    return {}
  }
}

/** Files that did not run before are first, large ones before small ones. */
function longestFirst(files) {
  const known = knownDurations()
  const weights = new Map(files.map(file => [file, { seconds: known[file] ?? Infinity, bytes: statSync(file).size }]))
  const compared = (a, b) => (a.seconds === b.seconds ? b.bytes - a.bytes : b.seconds - a.seconds)
  return files.toSorted((a, b) => compared(weights.get(a), weights.get(b)))
}

/** A repeatable order, by the generator of Park and Miller. */
function shuffled(files, seed) {
  let state = (seed % 2_147_483_646) + 1
  const places = files.map(file => {
    state = (state * 48_271) % 2_147_483_647
    return { file, place: state }
  })
  return places.sort((a, b) => a.place - b.place).map(({ file }) => file)
}

const all =
  positionals.length > 0 ? positionals.flatMap(testsIn) : testsIn('build/test').filter(file => !file.startsWith(SYSTEM))
const seed = values.seed === 'random' ? Date.now() % 2 ** 31 : Number(values.seed)
const files = values.seed === undefined ? longestFirst(all) : shuffled(all, seed)

/** Runs this script again, with its TAP stream in tap's reporter. */
async function reported() {
  const child = spawn(process.execPath, process.argv.slice(1), { stdio: ['inherit', 'pipe', 'inherit'] })
  const tap = fileURLToPath(new URL('../node_modules/.bin/tap', import.meta.url))
  spawn(tap, ['-'], { stdio: [child.stdout, 'inherit', 'inherit'] })
  const [code] = await once(child, 'exit')
  process.exitCode = code ?? 1
}

/** Runs the files. */
async function run() {
  const { default: t } = await import('tap')
  const durations = []
  t.jobs = Number(values.jobs)
  t.setTimeout(0)
  for (const file of files) {
    t.test(file, { buffered: true, timeout: 0 }, async t => {
      const beganMs = performance.now()
      const child = spawn(process.execPath, ['--enable-source-maps', file], {
        env: { ...process.env, TAP: '1', TAP_TIMEOUT: values.timeout },
        stdio: ['ignore', 'pipe', 'inherit']
      })
      // The file reports what was not finished in time, then the process is ended.
      const limit = setTimeout(() => child.kill('SIGKILL'), 1_000 * Number(values.timeout) + GRACE_MS)
      const exited = once(child, 'close')
      const results = await t.stdin(basename(file), { tapStream: child.stdout })
      t.ok(results.count > 0, `tests in the file: ${results.count}`)
      const [code, signal] = await exited
      clearTimeout(limit)
      t.equal(signal ?? code, 0, 'the process exits with code 0')
      durations.push({ file, seconds: (performance.now() - beganMs) / 1_000 })
    })
  }
  t.teardown(() => {
    if (values.seed !== undefined) t.comment(`seed ${seed}`)
    durations.sort((a, b) => b.seconds - a.seconds)
    const lasting = durations.filter(({ file }) => file.startsWith('build/test/'))
    const known = { ...knownDurations(), ...Object.fromEntries(lasting.map(({ file, seconds }) => [file, seconds])) }
    if (lasting.length > 0) writeFileSync(DURATIONS, JSON.stringify(known))
    for (const { file, seconds } of durations.slice(0, 5)) t.comment(`${seconds.toFixed(1)} s ${file}`)
  })
}

await (process.stdout.isTTY ? reported() : run())
