/** Builds of the service other than `dist/`: of an earlier commit, or of changed sources. */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { projectRoot } from './project.ts'

/** All inputs of a build, except node_modules. */
const SOURCES = ['src', 'plugins', 'routes', 'scripts', 'package.json', 'tsconfig.json']

/** Calls the build script of the folder, without the patches of dependencies: node_modules is shared, and patched. */
const BUILD = `
const { bundle, THREADS } = await import(process.argv[1] + '/scripts/bundle.js')
await bundle({ server: 'src/server.ts', ...THREADS }, process.argv[1] + '/dist/src')`

/** Sources of the service in a separate folder. */
export interface Sources {
  folder: string
  /** Builds them. @returns the script of the server */
  build(): string
}

/** A copy of the sources of this build, removed at teardown. */
export function copySources(t: Test): Sources {
  return sourcesIn(t, folder => {
    for (const name of SOURCES) cpSync(join(projectRoot, name), join(folder, name), { recursive: true })
  })
}

/** The sources of a commit, removed at teardown. */
export function checkOut(t: Test, commit: string): Sources {
  return sourcesIn(t, folder => {
    const archive = join(folder, 'sources.tar')
    git('archive', '--output', archive, commit, ...SOURCES)
    run('tar', '-xf', archive, '-C', folder)
  })
}

/** The last commit before a version. */
export interface EarlierCommit {
  commit: string
  /** The names of its migrations. */
  migrations: string[]
  /** Why the commit is missing, in which case there are no migrations. False if it exists. */
  absent: string | false
}

/**
 * Finds the last commit before a version. It is absent without a repository, in a shallow clone, and in a history that
 * begins with that version.
 * @param version as in package.json
 */
export function lastCommitBefore(version: string): EarlierCommit {
  const missing = historyAbsent()
  if (missing !== false) return { commit: '', migrations: [], absent: missing }
  const raised = git('log', '--reverse', '--format=%H %P', `-S"version": "${version}"`, '--', 'package.json')
  // The commit that raised the version, and its parent.
  const [first = ''] = raised.split('\n')
  const [, commit] = first.trim().split(' ')
  if (commit === undefined) {
    return {
      commit: '',
      migrations: [],
      absent: `the history begins with ${version}: there is no earlier commit to build`
    }
  }
  const names = git('ls-tree', '--name-only', commit, 'src/database/migrations/').trim().split('\n')
  return { commit, migrations: names.map(name => name.slice(name.lastIndexOf('/') + 1)), absent: false }
}

function historyAbsent(): string | false {
  try {
    const [isShallow, top] = git('rev-parse', '--is-shallow-repository', '--show-toplevel').trim().split('\n')
    if (top !== realpathSync(projectRoot)) return 'the sources are no repository: there is no earlier commit to build'
    return isShallow === 'true' && 'a shallow clone: there is no earlier commit to build'
  } catch (err) {
    return `there is no earlier commit to build: ${err instanceof Error ? err.message : err}`
  }
}

/** The version in the package.json of these sources. */
export function versionOf({ folder }: Pick<Sources, 'folder'>): string {
  return String(JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).version)
}

function sourcesIn(t: Test, fill: (folder: string) => void): Sources {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'trading-health-build-')))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  fill(folder)
  symlinkSync(join(projectRoot, 'node_modules'), join(folder, 'node_modules'))
  return {
    folder,
    build() {
      run(process.execPath, '--input-type=module', '--eval', BUILD, folder)
      return join(folder, 'dist/src/server.js')
    }
  }
}

const git = (...words: string[]) => run('git', '-C', projectRoot, ...words)

/** Through env(1): tap adds its loader to the environment of every Node process that a test starts. */
function run(...words: string[]): string {
  const environment = [`PATH=${process.env.PATH}`, `HOME=${process.env.HOME ?? '/'}`]
  const { status, stdout, stderr, error } = spawnSync('env', ['-i', ...environment, ...words], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${words[0]}: ${stderr?.trim() || error?.message || status}`)
  return stdout
}
