// Applies patches/<name>+<version>.patch to the installed packages; `/` in a name is written `+`. Runs after each
// install. Idempotent: an applied patch is left as it is. Exits with 1 and one line when a patch cannot be applied.
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { applyPatch, parsePatch, reversePatch } from 'diff'

const root = dirname(import.meta.dirname)
const patches = join(root, 'patches')

try {
  for (const file of readdirSync(patches)) patch(file)
} catch (err) {
  process.stderr.write(`dependencies not patched: ${err.message}\n`)
  process.exitCode = 1
}

function patch(file) {
  const [, name, version] = /^(.+)\+(\d[^+]*)\.patch$/.exec(file) ?? []
  if (name === undefined) throw new Error(`patches/${file} is not named <package>+<version>.patch`)
  const folder = join(root, 'node_modules', name.replace('+', '/'))
  const manifest = join(folder, 'package.json')
  if (!existsSync(manifest)) throw new Error(`patches/${file}: the package is not installed`)
  const installed = JSON.parse(readFileSync(manifest, 'utf8')).version
  if (installed !== version) throw new Error(`patches/${file} is for ${version}, but ${installed} is installed`)

  const changes = parsePatch(readFileSync(join(patches, file), 'utf8'))
  if (changes.length === 0) throw new Error(`patches/${file} changes nothing`)
  for (const change of changes) {
    const path = join(folder, change.oldFileName.replace(/^a\//, ''))
    const text = readFileSync(path, 'utf8')
    if (applyPatch(text, reversePatch(change)) !== false) continue
    const patched = applyPatch(text, change)
    if (patched === false) throw new Error(`patches/${file} does not fit ${change.oldFileName}`)
    // The patched text goes into a new file, because some package managers share the installed one with other projects.
    writeFileSync(`${path}.patched`, patched)
    renameSync(`${path}.patched`, path)
  }
}
