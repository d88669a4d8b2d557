import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { filesBelow } from './inputs.js'

/** @fastify/swagger-ui contains it in its assets, so no lock file lists it. */
const SWAGGER_UI = { name: 'swagger-ui-dist', license: 'Apache-2.0' }

/**
 * The packages whose code is in a bundle, sorted by name and version. They are read from its source maps, which also
 * list the packages that a package was itself bundled from.
 * @param outdir folder of the bundle, with its source maps
 * @throws {Error} a package is not installed, or names no licence
 */
export function bundledPackages(outdir) {
  const maps = filesBelow(outdir, '').filter(name => name.endsWith('.map'))
  const sources = maps.flatMap(name => {
    const { sources } = JSON.parse(readFileSync(join(outdir, name), 'utf8'))
    return sources.map(source => resolve(dirname(join(outdir, name)), source))
  })
  const folders = new Set(
    sources.flatMap(path => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path) ?? []).map(installedFolder)
  )
  const packages = [...folders].map(folder => {
    const { name, version, license, devDependencies } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
    const file = readdirSync(folder).find(file => /^(licen[cs]e|copying)(\.|$)/i.test(file))
    if (typeof license !== 'string') throw new Error(`${name} names no licence`)
    const text = file && readFileSync(join(folder, file), 'utf8').trim()
    return { name, version, license, text, devDependencies }
  })
  const assets = packages.find(({ name }) => name === '@fastify/swagger-ui')
  if (assets) packages.push({ ...SWAGGER_UI, version: assets.devDependencies[SWAGGER_UI.name] })
  // A version that is installed twice is listed once.
  const distinct = new Map(packages.map(one => [`${one.name}@${one.version}`, one]))
  return [...distinct].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, one]) => one)
}

/** A package that another one bundles was installed below it when that one was published; here it may be further up. */
function installedFolder(folder) {
  for (let at = folder; ; ) {
    if (existsSync(join(at, 'package.json'))) return at
    const [, outer, name] = /^(.*)\/[^/]+\/node_modules\/((?:@[^/]+\/)?[^/]+)$/.exec(at) ?? []
    const up = outer?.replace(/\/@[^/]+$/, '')
    if (up === undefined || !up.endsWith('node_modules')) throw new Error(`${folder} is bundled, but not installed`)
    at = join(up, name)
  }
}

/** The licences of the service and of all that is bundled with it, as one text. */
export function licencesText(root, packages) {
  const own = readFileSync(join(root, 'LICENSE'), 'utf8').trim()
  const others = packages.map(
    ({ name, version, license, text }) =>
      `${name} ${version}\nLicence: ${license}\n\n${text ?? 'The package has no licence file. See the registry, or the text of this licence elsewhere in this file.'}`
  )
  return `${[`trading-health\n\n${own}`, ...others].join(`\n\n${'-'.repeat(80)}\n\n`)}\n`
}

/**
 * The software bill of materials, CycloneDX 1.5: what `npm sbom` makes of package-lock.json, restricted to what is
 * bundled. npm's own `--omit=dev` also leaves out packages that a development tool needs as well.
 * @throws {Error} npm has no such command, or does not list a bundled package
 */
export async function billOfMaterials(root, packages) {
  const words = ['sbom', '--sbom-format=cyclonedx', '--package-lock-only']
  const npm = process.env.npm_execpath
  const [file, first] = npm?.endsWith('.js') ? [process.execPath, [npm]] : ['npm', []]
  const { stdout } = await promisify(execFile)(file, [...first, ...words], { cwd: root, maxBuffer: 64 * 1024 * 1024 })
  const bill = JSON.parse(stdout)
  const reference = ({ name, version }) => `${name}@${version}`
  const { name } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  // npm names the folder.
  bill.metadata.component.name = name
  const known = new Map(bill.components.map(component => [reference(fullName(component)), component]))
  bill.components = packages.map(one => {
    const component = known.get(reference(one))
    if (component) return { ...component, scope: 'required' }
    if (one.name !== SWAGGER_UI.name) throw new Error(`npm sbom does not list ${reference(one)}`)
    return {
      'bom-ref': reference(one),
      type: 'library',
      name: one.name,
      version: one.version,
      scope: 'required',
      purl: `pkg:npm/${reference(one)}`,
      licenses: [{ license: { id: one.license } }]
    }
  })
  const references = new Set([bill.metadata.component['bom-ref'], ...bill.components.map(one => one['bom-ref'])])
  bill.dependencies = bill.dependencies
    .filter(({ ref }) => references.has(ref))
    .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter(one => references.has(one)) }))
  bill.dependencies.push({ ref: reference(packages.find(one => one.name === SWAGGER_UI.name)), dependsOn: [] })
  return `${JSON.stringify(bill, null, 2)}\n`
}

/** npm has the scope in the name or in `group`, depending on its version. */
function fullName({ group, name, version }) {
  return { name: group ? `${group}/${name}` : name, version }
}
