import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** All inputs of dist/. The lock file represents node_modules. */
const INPUTS = [
  'src',
  'plugins',
  'routes',
  'scripts',
  'patches',
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'LICENSE'
]

/** A digest of all inputs of dist/, as hexadecimal digits. @param root of the project */
export function inputsDigest(root) {
  return filesDigest(
    root,
    INPUTS.flatMap(name => filesBelow(root, name))
  )
}

/** A digest of the names and contents of these files, as hexadecimal digits. */
export function filesDigest(folder, names) {
  const hash = createHash('sha256')
  for (const name of names.toSorted()) {
    const content = readFileSync(join(folder, name))
    hash.update(`${name}\n${content.length}\n`).update(content)
  }
  return hash.digest('hex')
}

/** The files of a folder, or the file itself, by their paths from `root`; none where it does not exist. */
export function filesBelow(root, name) {
  if (!existsSync(join(root, name))) return []
  try {
    return readdirSync(join(root, name), { recursive: true, withFileTypes: true })
      .filter(entry => entry.isFile())
      .map(entry => join(entry.parentPath, entry.name).slice(root.length + 1))
  } catch (err) {
    if (err.code !== 'ENOTDIR') throw err
    return [name]
  }
}
