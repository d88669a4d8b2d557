// Builds dist/, which contains everything that ships:
//
//   dist/src/server.js, cli.js, health-check.js   one line each, which imports the bundle of the current build
//   dist/src/<id>/               bundle, threads, chunks, source maps, migrations, the assets of /docs
//   dist/licenses.txt            of the bundled packages
//   dist/sbom.cdx.json           the software bill of materials
//   dist/build.json              digest of the inputs, ids of this build and of the previous one, exports of each file
//   dist/package.json            marks the files as ES modules
//
// The id is a digest of the folder's content, so no file below dist/src/<id>/ ever changes: a running service finds its
// threads and chunks there, and every other file is replaced by a rename. The folder of the previous build is kept for
// one more build.
//
// --if-changed: does nothing when the inputs are those of the last build.
import { spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync
} from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { filesBelow, filesDigest, inputsDigest } from './inputs.js'

/** How long a build may take, in milliseconds: a temporary folder of that age is one that a build left behind. */
const ABANDONED_MS = 10 * 60_000

/** The entry points in dist/src/ that are started by name. */
const ENTRIES = { server: 'src/server.ts', cli: 'src/cli/cli.ts', 'health-check': 'src/health/health-check.ts' }
const entryFiles = Object.keys(ENTRIES).map(name => `${name}.js`)

const root = dirname(import.meta.dirname)
const dist = join(root, 'dist')
const temporaryPrefix = '.dist-'

const inputs = inputsDigest(root)
const last = lastBuild()
const complete = last !== undefined && [...entryFiles, last.id].every(name => existsSync(join(dist, 'src', name)))

if (process.argv.includes('--if-changed') && complete && last.inputs === inputs) process.exit(0)
if (canBuild()) await buildDist()
else if (process.argv.includes('--if-changed') && complete) {
  process.stderr.write('dist/ is used as it is: esbuild, which builds it, is not installed\n')
} else {
  process.stderr.write(
    'dist/ cannot be built: esbuild is not installed. Run `npm ci --include=dev`, or copy a built dist/ here\n'
  )
  process.exitCode = 1
}

async function buildDist() {
  // An install without scripts has not done it.
  const patched = spawnSync(process.execPath, [join(root, 'scripts/patch-dependencies.js')], { stdio: 'inherit' })
  if (patched.status !== 0) process.exit(1)
  const { bundle, THREADS } = await import('./bundle.js')
  const { billOfMaterials, bundledPackages, licencesText } = await import('./third-parties.js')

  removeAbandoned()
  const temporary = mkdtempSync(join(root, temporaryPrefix))
  try {
    // As deep as the folder that it becomes: the paths in source maps are relative.
    const made = join(temporary, 'src/new')
    const metafile = await bundle({ ...ENTRIES, ...THREADS }, made)
    const packages = bundledPackages(made)
    const bill = await billOfMaterials(root, packages)
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    const id = filesDigest(made, filesBelow(made, '')).slice(0, 12)
    const previous = last?.id === id ? last.previous : last?.id

    moveIntoPlace(made, join(dist, 'src', id))
    const put = (name, text) => {
      const written = join(temporary, 'file')
      writeFileSync(written, text)
      renameSync(written, join(dist, name))
    }
    put('package.json', `${JSON.stringify({ name: 'trading-health', version, private: true, type: 'module' })}\n`)
    put('licenses.txt', licencesText(root, packages))
    put('sbom.cdx.json', bill)
    for (const file of entryFiles) put(`src/${file}`, `import './${id}/${file}'\n`)
    put('build.json', `${JSON.stringify({ inputs, id, previous, exports: exportsOf(metafile, made) }, null, 2)}\n`)
    // Without a record of an earlier build, existing files may belong to a running service.
    if (last) removeAllBut([...entryFiles, id, previous])
  } finally {
    rmSync(temporary, { recursive: true, force: true })
  }
}

function lastBuild() {
  try {
    const { inputs, id, previous } = JSON.parse(readFileSync(join(dist, 'build.json'), 'utf8'))
    return { inputs, id, previous }
  } catch {
    // Without a legible record everything is built.
    return undefined
  }
}

/** Whether the development packages are installed. A production install lacks them. */
function canBuild() {
  try {
    createRequire(import.meta.url).resolve('esbuild')
    return true
  } catch {
    return false
  }
}

/** The same content may be there already, from an earlier build or from one at the same time. A damaged one is replaced. */
function moveIntoPlace(from, to) {
  if (existsSync(to)) {
    if (filesDigest(to, filesBelow(to, '')).startsWith(basename(to))) return
    renameSync(to, `${from}.damaged`)
  }
  mkdirSync(dirname(to), { recursive: true })
  try {
    renameSync(from, to)
  } catch (err) {
    if (err.code !== 'ENOTEMPTY' && err.code !== 'EEXIST') throw err
  }
}

/** Names that each file exports, as esbuild has them. */
function exportsOf(metafile, folder) {
  const prefix = `${folder.slice(root.length + 1)}/`
  const outputs = Object.entries(metafile.outputs).filter(([path]) => path.endsWith('.js'))
  return Object.fromEntries(outputs.map(([path, { exports }]) => [path.slice(prefix.length), exports.sort()]))
}

function removeAllBut(kept) {
  for (const name of readdirSync(dist)) {
    if (!['src', 'build.json', 'package.json', 'licenses.txt', 'sbom.cdx.json'].includes(name)) remove(dist, name)
  }
  for (const name of readdirSync(join(dist, 'src'))) if (!kept.includes(name)) remove(join(dist, 'src'), name)
}

function removeAbandoned() {
  for (const name of readdirSync(root)) {
    if (!name.startsWith(temporaryPrefix)) continue
    const { mtimeMs } = statSync(join(root, name), { throwIfNoEntry: false }) ?? {}
    if (mtimeMs !== undefined && Date.now() - mtimeMs > ABANDONED_MS) remove(root, name)
  }
}

function remove(folder, name) {
  rmSync(join(folder, name), { recursive: true, force: true })
}
