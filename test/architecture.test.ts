import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import t from 'tap'
import { projectRoot } from './support/service.ts'

/** A file of the service and what it imports: other files by their path from the root, packages by their name. */
interface Source {
  file: string
  imports: string[]
  isPlugin: boolean
}

/** Static and lazy imports and re-exports, those of types too. */
const IMPORT = /(?:^|\n)\s*(?:import|export)\s(?:[^'";]*?\sfrom\s+)?'([^']+)'|\bimport\('([^']+)'\)/g

const sources = new Map(
  ['src', 'plugins', 'routes'].flatMap(folder =>
    readdirSync(join(projectRoot, folder), { recursive: true, encoding: 'utf8' })
      .filter(name => name.endsWith('.ts'))
      .map(name => {
        const file = join(folder, name)
        const text = readFileSync(join(projectRoot, file), 'utf8')
        const imports = [...text.matchAll(IMPORT)].map(([, of, lazy]) => resolved(file, of ?? lazy ?? ''))
        return [file, { file, imports, isPlugin: /^export default /m.test(text) }] satisfies [string, Source]
      })
  )
)

function resolved(from: string, target: string): string {
  return target.startsWith('.') ? relative('.', join(dirname(from), target)) : target
}

/** Imports that a rule forbids, as `importer -> imported`. */
function breaches(forbidden: (source: Source, imported: string) => boolean): string[] {
  return [...sources.values()].flatMap(source =>
    source.imports.filter(imported => forbidden(source, imported)).map(imported => `${source.file} -> ${imported}`)
  )
}

/** Where the layers meet: the whole service, and its process. */
const roots = new Set(['src/app.ts', 'src/server.ts'])
const isFastify = (name: string) => /^(fastify|@fastify\/|fastify-)/.test(name)
const isIn = (folder: string) => (name: string) => name.startsWith(`${folder}/`)

t.test('the imports of every file are seen', async t => {
  t.ok(sources.size > 80, `files: ${sources.size}`)
  t.ok(sources.get('src/app.ts')?.imports.includes('plugins/db.ts'))
  t.ok(sources.get('plugins/db.ts')?.imports.includes('src/database/embedded.ts'), 'lazy ones too')
  t.ok(sources.get('src/app.ts')?.imports.includes('fastify'), 'of several lines, too')
  const relatives = [...sources.values()].flatMap(({ imports }) => imports.filter(name => name.endsWith('.ts')))
  t.strictSame(
    relatives.filter(name => !sources.has(name)),
    [],
    'each names a file of the service'
  )
})

t.test('src decides: it knows neither Fastify nor plugins nor routes', async t => {
  const isAbove = (name: string) => isFastify(name) || isIn('plugins')(name) || isIn('routes')(name)
  t.strictSame(
    breaches(({ file }, imported) => isIn('src')(file) && !roots.has(file) && isAbove(imported)),
    []
  )
  t.strictSame(
    breaches(({ file }, imported) => file !== 'src/server.ts' && roots.has(imported)),
    [],
    'and nobody reaches up to where the layers meet'
  )
})

t.test('plugins wire: they know no routes', async t => {
  t.strictSame(
    breaches(({ file }, imported) => isIn('plugins')(file) && isIn('routes')(imported)),
    []
  )
})

t.test('routes translate: they reach the plugins by decorators alone', async t => {
  t.strictSame(
    breaches(({ file }, imported) => isIn('routes')(file) && isIn('plugins')(imported)),
    []
  )
})

t.test('routes share schemas and helpers, never each other: only the index of their folder registers them', async t => {
  t.strictSame(
    breaches(
      ({ file }, imported) =>
        isIn('routes')(file) &&
        isIn('routes')(imported) &&
        sources.get(imported)?.isPlugin === true &&
        file !== join(dirname(imported), 'index.ts')
    ),
    []
  )
})

t.test('no file imports itself by a circle', async t => {
  const done = new Set<string>()
  const circles: string[] = []
  const visit = (file: string, path: string[]) => {
    if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(' -> '))
    if (path.includes(file) || done.has(file)) return
    for (const imported of sources.get(file)?.imports ?? []) visit(imported, [...path, file])
    done.add(file)
  }
  for (const file of sources.keys()) visit(file, [])
  t.strictSame(circles, [])
})
