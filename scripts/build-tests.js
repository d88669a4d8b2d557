// Builds build/: tsc's output of everything, for unit tests, benches and the demo, and build/system/, the replicas of
// the system tests with jobs of their own or without load shedding, bundled as dist/ is. Files without a source are
// removed afterwards, so that a test that runs meanwhile keeps its own. build/node_modules/ has the packages, bundled.
import { spawnSync } from 'node:child_process'
import { cpSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { filesBelow } from './inputs.js'

const root = dirname(import.meta.dirname)
const build = join(root, 'build')
const system = join(build, 'system')
const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc')

// An install without scripts has not done it.
const patched = spawnSync(process.execPath, [join(root, 'scripts/patch-dependencies.js')], { stdio: 'inherit' })
if (patched.status !== 0) process.exit(1)
const { status, stdout } = spawnSync(process.execPath, [tsc, '--project', root, '--listEmittedFiles'], {
  stdio: ['ignore', 'pipe', 'inherit'],
  encoding: 'utf8'
})
const emitted = new Set([...stdout.matchAll(/^TSFILE: (.*)$/gm)].map(([, path]) => path))
process.stdout.write(stdout.replace(/^TSFILE: .*\n/gm, ''))
if (status !== 0) process.exit(status ?? 1)
const migrations = filesBelow(root, 'src/database/migrations').map(file => join(build, file))
const kept = new Set([...emitted, ...migrations])
const OTHERS = /^build\/(system\/|\.?node_modules\/|test-durations\.json$)/
removeFrom('build', file => !OTHERS.test(file) && !kept.has(join(root, file)))
cpSync(join(root, 'src/database/migrations'), join(build, 'src/database/migrations'), { recursive: true })

const { bundlePackages } = await import('./test-packages.js')
await bundlePackages()
const { bundle, THREADS } = await import('./bundle.js')
const entries = ['scheduler-entry', 'steady-entry'].map(name => [name, `test/support/${name}.ts`])
const { outputs } = await bundle({ ...Object.fromEntries(entries), ...THREADS }, system)
removeFrom('build/system', file => /-[A-Z0-9]{8}\.js(\.map)?$/.test(file) && !(file in outputs))

/** @param isStale whether a file is removed, by its path from the root */
function removeFrom(folder, isStale) {
  for (const file of filesBelow(root, folder)) if (isStale(file)) rmSync(join(root, file))
}
