// npm run test:mutation [-- --files=src/trading/x.ts,… --sample=200 --seed=1 --workers=1]: changes the code that must
// not be wrong, one mutant at a time, and runs the tests that cover the changed place. Exit 1 below 90 % in a group.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { SourceMap } from 'node:module'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { filesBelow, filesDigest } from './inputs.js'
import { GROUPS } from './mutation/groups.js'
import { mutantsOf } from './mutation/mutants.js'

const MINIMUM = 0.9
/** A test that takes this many times its usual time, and 20 s more for a busy machine, is counted as failed. */
const SLOWDOWN = 3
const GRACE_MS = 20_000
const LONGEST_TEST_MS = 600_000

const root = dirname(import.meta.dirname)
const results = join(root, '.mutation')
const { values: options } = parseArgs({
  options: {
    files: { type: 'string' },
    sample: { type: 'string' },
    seed: { type: 'string', default: '1' },
    workers: { type: 'string', default: '1' }
  }
})
const files = options.files?.split(',')
const listed = dataOf('survivors.json')
/**
 * Mutants that the general rules do not make. A sampled run also tries them. `edits` replace texts of tsc's output,
 * each of which must occur once.
 */
const named = dataOf('named.json')

mkdirSync(results, { recursive: true })
const { sharedPostgres } = await import(pathToFileURL(join(root, 'build/test/support/postgres.js')).href)
process.env.TEST_DATABASE_URL = await sharedPostgres()
const workers = Array.from({ length: Number(options.workers) }, (_, index) => startWorker(index))
const runs = []
/** By file, the texts of all its mutants, those outside of the sample too. */
const possible = new Map()
try {
  for (const group of GROUPS) {
    const plan = await planOf(group)
    if (plan.length === 0) continue
    print(`${group.name}: ${plan.length} mutants`)
    runs.push({ group: group.name, mutants: await runAll(plan) })
    writeFileSync(join(results, 'report.json'), JSON.stringify(runs, null, 2))
  }
} finally {
  for (const { copy, child } of workers) {
    child.kill()
    rmSync(copy, { recursive: true, force: true })
  }
}
const failures = [...runs.flatMap(summaryOf), ...staleEntries(runs.flatMap(({ mutants }) => mutants))]
for (const failure of failures) print(failure)
process.exit(failures.length === 0 ? 0 : 1)

function dataOf(name) {
  return JSON.parse(readFileSync(join(root, 'test/mutation', name), 'utf8'))
}

function startWorker(index) {
  // Next to build/, since tests find files of the source tree by their path from there.
  const copy = join(root, `.mutation-${index}`)
  rmSync(copy, { recursive: true, force: true })
  cpSync(join(root, 'build'), copy, { recursive: true })
  return { copy, child: fork(join(root, 'scripts/mutation/worker.js'), [copy]) }
}

/** The mutants of a group to run, with the tests that cover them: first the test of the same name, then the fastest. */
async function planOf({ name, sources, tests }) {
  const chosen = sources
    .flatMap(source => filesBelow(root, source))
    .filter(file => file.endsWith('.ts') && (files === undefined || files.includes(file)))
  if (chosen.length === 0) return []
  const made = chosen.flatMap(mutantsIn)
  for (const { file, mutant } of made) possible.set(file, (possible.get(file) ?? new Set()).add(mutant))
  const mutants = [...chosen.flatMap(namedIn), ...sampleOf(made)]
  const coverage = await coverageOf(
    tests.flatMap(test => filesBelow(root, test)).filter(file => file.endsWith('.test.ts'))
  )
  print(`${name}: ${coverage.length} test files, ${seconds(coverage.reduce((sum, { ms }) => sum + ms, 0))}`)
  return mutants.map(mutant => ({
    ...mutant,
    tests: coverage
      .filter(({ ranges }) => isCovered(ranges[mutant.built] ?? [], placeOf(mutant)))
      .sort((a, b) => Number(isOf(mutant, b)) - Number(isOf(mutant, a)) || a.ms - b.ms)
      .map(({ test, ms }) => ({ file: test, timeoutMs: SLOWDOWN * ms + GRACE_MS }))
  }))
}

/** Where a mutant is executed. V8 counts the operator of `a ?? b` with the right operand, which may never be evaluated. */
function placeOf({ mutator, start }) {
  return mutator === 'operator' ? start - 1 : start
}

/** Whether a test is that of the file of a mutant: test/trading/x.test.ts of src/trading/x.ts. */
function isOf({ built }, { test }) {
  return test === built.replace(/^src\/(.*)\.js$/, 'test/$1.test.js')
}

function mutantsIn(file) {
  const built = file.replace(/\.ts$/, '.js')
  const source = readFileSync(join(root, 'build', built), 'utf8')
  const map = new SourceMap(JSON.parse(readFileSync(join(root, 'build', `${built}.map`), 'utf8')))
  return mutantsOf(source).map(({ start, end, text, mutator }) => {
    const before = source.slice(0, start).split('\n')
    const { originalLine } = map.findEntry(before.length - 1, before.at(-1).length)
    const after = source.slice(end).split('\n')[0]
    const change = `«${short(source.slice(start, end))} → ${short(text)}»`
    return {
      file,
      built,
      start,
      line: originalLine + 1,
      mutator,
      mutant: `${before.at(-1)}${change}${after}`.trim(),
      source: source.slice(0, start) + text + source.slice(end)
    }
  })
}

/** @throws {Error} when an edit no longer fits the file */
function namedIn(file) {
  return named
    .filter(mutant => mutant.file === file)
    .map(({ name, edits }) => {
      const built = file.replace(/\.ts$/, '.js')
      let source = readFileSync(join(root, 'build', built), 'utf8')
      const start = source.indexOf(edits[0][0])
      for (const [from, to] of edits) {
        if (source.split(from).length !== 2) throw new Error(`${file} must contain this once: ${from}`)
        source = source.replace(from, () => to)
      }
      return { file, built, start, line: 0, mutator: 'named', mutant: name, source }
    })
}

/** One line of at most 90 characters. */
function short(text) {
  const line = text.replace(/\s+/g, ' ')
  return line.length > 90 ? `${line.slice(0, 89)}…` : line
}

function sampleOf(mutants) {
  if (options.sample === undefined) return mutants
  const random = randomNumbers(Number(options.seed))
  return mutants
    .map(mutant => ({ mutant, place: random() }))
    .sort((a, b) => a.place - b.place)
    .slice(0, Number(options.sample))
    .map(({ mutant }) => mutant)
}

/** mulberry32: the same numbers in [0, 1) for the same seed. */
function randomNumbers(seed) {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** What each test executes. Measured once, and kept until the code, the test or its support changes. */
async function coverageOf(tests) {
  const code = filesDigest(join(root, 'build'), [
    ...['src', 'plugins', 'routes', 'test/support'].flatMap(folder => filesBelow(join(root, 'build'), folder))
  ])
  const measure = async (test, worker) => {
    const built = test.replace(/\.ts$/, '.js')
    const cache = join(results, `${built.replaceAll('/', '-')}on`)
    const digest = `${code} ${filesDigest(join(root, 'build'), [built])}`
    if (existsSync(cache)) {
      const known = JSON.parse(readFileSync(cache, 'utf8'))
      if (known.digest === digest) return known
    }
    const { status, ms, folder } = await ask(worker, {
      coverage: true,
      tests: [{ file: built, timeoutMs: LONGEST_TEST_MS }]
    })
    if (status !== 'passed') throw new Error(`${test} fails without a mutant: ${status}`)
    const measured = { digest, test: built, ms, ranges: rangesIn(folder, worker.copy) }
    rmSync(folder, { recursive: true })
    writeFileSync(cache, JSON.stringify(measured))
    return measured
  }
  return await shared(tests, measure)
}

/** By file of build/, the ranges `[start, end, executions]` that V8 counted in all processes of a test. */
function rangesIn(folder, copy) {
  const prefix = pathToFileURL(`${copy}/src/`).href
  const ranges = {}
  for (const name of readdirSync(folder)) {
    for (const { url, functions } of JSON.parse(readFileSync(join(folder, name), 'utf8')).result) {
      if (!url.startsWith(prefix)) continue
      const file = `src/${url.slice(prefix.length)}`
      ranges[file] ??= []
      ranges[file].push(
        functions.flatMap(f => f.ranges.map(range => [range.startOffset, range.endOffset, range.count]))
      )
    }
  }
  return ranges
}

/** Whether in one of the processes the narrowest range around a place was executed. */
function isCovered(processes, offset) {
  return processes.some(ranges => {
    const around = ranges.filter(([start, end]) => start <= offset && offset < end)
    around.sort(([aStart, aEnd], [bStart, bEnd]) => aEnd - aStart - (bEnd - bStart))
    return (around[0]?.[2] ?? 0) > 0
  })
}

async function runAll(plan) {
  let done = 0
  return await shared(plan, async ({ tests, built, source, start: _start, ...mutant }, worker) => {
    const outcome =
      tests.length === 0
        ? { status: 'not covered', by: null, ms: 0 }
        : await ask(worker, { tests, mutant: { file: built, source } })
    done++
    const explained = listed.some(entry => isEntryOf(entry, mutant))
    if (mutant.mutator === 'named') print(`${outcome.status} named: ${mutant.file}: ${mutant.mutant}`)
    else if (!isKilled(outcome) && !explained)
      print(
        `${done}/${plan.length} ${outcome.status} ${mutant.file}:${mutant.line} ${mutant.mutator}: ${mutant.mutant}`
      )
    else if (done % 50 === 0) print(`${done}/${plan.length}`)
    return { ...mutant, ...outcome, explained }
  })
}

/** Gives each item to the next free worker. The results are in the order of the items. */
async function shared(items, work) {
  const found = []
  let next = 0
  await Promise.all(
    workers.map(async worker => {
      while (next < items.length) {
        const index = next++
        found[index] = await work(items[index], worker)
      }
    })
  )
  return found
}

async function ask({ child }, message) {
  const answered = new AbortController()
  const exit = once(child, 'exit', answered)
  child.send(message)
  try {
    const [answer] = await Promise.race([
      once(child, 'message', answered),
      exit.then(([code]) => {
        throw new Error(`a worker ended with ${code}`)
      })
    ])
    return answer
  } finally {
    answered.abort()
  }
}

function isKilled({ status }) {
  return status === 'killed' || status === 'timeout'
}

function isEntryOf(entry, { file, mutant }) {
  return entry.file === file && entry.mutant === mutant
}

/** Prints a group. @returns the reasons why it fails */
function summaryOf({ group, mutants }) {
  const killed = mutants.filter(isKilled).length
  const explained = mutants.filter(mutant => !isKilled(mutant) && mutant.explained).length
  const score = killed / mutants.length
  const timeouts = mutants.filter(({ status }) => status === 'timeout').length
  print(
    `${group}: ${(100 * score).toFixed(1)} %: ${killed} of ${mutants.length} mutants killed (${timeouts} by time), ` +
      `${mutants.length - killed - explained} survivors are not listed, ${explained} are`
  )
  return score >= MINIMUM ? [] : [`${group} is below ${100 * MINIMUM} %`]
}

/** Entries of survivors.json without a reason, whose mutant was killed, or that match no mutant of their file. */
function staleEntries(mutants) {
  return listed.flatMap(entry => {
    const matching = mutants.filter(mutant => isEntryOf(entry, mutant))
    const name = `survivors.json: ${entry.file}: ${entry.mutant}`
    if (!entry.reason) return [`${name}: has no reason`]
    if (matching.length > 0 && matching.every(isKilled)) return [`${name}: is killed`]
    return possible.has(entry.file) && !possible.get(entry.file).has(entry.mutant) ? [`${name}: is not a mutant`] : []
  })
}

function seconds(ms) {
  return `${(ms / 1_000).toFixed(0)} s`
}

function print(line) {
  process.stdout.write(`${line}\n`)
}
