import { join } from 'node:path'
import type { Node, SourceFile } from 'typescript/unstable/ast'
import { createVirtualFileSystem } from 'typescript/unstable/fs'
import { API } from 'typescript/unstable/sync'

/** A file by its path from the root of the project. */
export interface SourceText {
  file: string
  text: string
}

/** Calls `visitor` with a node and everything below it, parents first. */
export function visit(node: Node, visitor: (node: Node) => void): void {
  visitor(node)
  node.forEachChild((child): undefined => {
    visit(child, visitor)
  })
}

/**
 * Parses files with the compiler's own parser, from memory: imports and types are not resolved.
 * @returns what `read` returns for each file, in one list
 * @throws {Error} when the compiler does not return a tree
 */
export function parsed<T>(sources: readonly SourceText[], read: (file: string, root: SourceFile) => T[]): T[] {
  const root = '/sources'
  const configuration = join(root, 'tsconfig.json')
  const files = Object.fromEntries(sources.map(({ file, text }) => [join(root, file), text]))
  const compilerOptions = { allowJs: true, noLib: true, noResolve: true, types: [] }
  files[configuration] = JSON.stringify({ compilerOptions, files: sources.map(({ file }) => file) })
  const api = new API({ cwd: root, fs: createVirtualFileSystem(files) })
  try {
    const program = api.updateSnapshot({ openProjects: [configuration] }).getProject(configuration)?.program
    return sources.flatMap(({ file }) => {
      const source = program?.getSourceFile(join(root, file))
      if (!source) throw new Error(`${file} was not parsed`)
      return read(file, source)
    })
  } finally {
    api.close()
  }
}
