import {
  isArrowFunction,
  isCallExpression,
  isConstructorDeclaration,
  isFunctionDeclaration,
  isFunctionExpression,
  isGetAccessorDeclaration,
  isIdentifier,
  isMethodDeclaration,
  isPropertyAccessExpression,
  isPropertyAssignment,
  isPropertyDeclaration,
  isSetAccessorDeclaration,
  isVariableDeclaration,
  type Node,
  type SourceFile
} from 'typescript/unstable/ast'
import { parsed, type SourceText, visit } from './syntax-tree.ts'

const isFunction = (node: Node) =>
  isArrowFunction(node) ||
  isConstructorDeclaration(node) ||
  isFunctionDeclaration(node) ||
  isFunctionExpression(node) ||
  isGetAccessorDeclaration(node) ||
  isMethodDeclaration(node) ||
  isSetAccessorDeclaration(node)

const ROUTE_METHODS = new Set(['get', 'post', 'put', 'patch', 'delete', 'head', 'options', 'all'])

interface FunctionLines {
  name: string
  line: number
  lines: number
}

/**
 * Finds functions of more than `limit` lines, from the first to the last line of the function with all functions in it,
 * without the comment above it.
 * @returns one text per function, `file:line name: 61 lines`, in the order of the files
 */
export function longFunctions(sources: readonly SourceText[], limit: number): string[] {
  return parsed(sources, (file, root) =>
    functionsOf(root)
      .filter(({ lines }) => lines > limit)
      .map(({ line, name, lines }) => `${file}:${line} ${name}: ${lines} lines`)
  )
}

/**
 * Finds routes (`app.get(path, …, handler)` and the other methods) whose handler is not the name of a function of the
 * same file, or has more than `limit` lines.
 * @returns one text per route, `file:line: reason`, in the order of the files
 */
export function badHandlers(sources: readonly SourceText[], limit: number): string[] {
  return parsed(sources, (file, root) => {
    const functions = functionsOf(root)
    const found: string[] = []
    visit(root, node => {
      const handler = handlerOf(node)
      if (!handler) return
      const target = isIdentifier(handler) ? functions.find(({ name }) => name === handler.text) : undefined
      const at = `${file}:${lineOf(root, node.getStart(root))}`
      if (!target) found.push(`${at}: the handler has no name`)
      else if (target.lines > limit) found.push(`${at}: ${target.name} has ${target.lines} lines`)
    })
    return found
  })
}

/** The handler of a call that adds a route; undefined for other nodes. A path alone, as of `Map.get`, adds none. */
function handlerOf(node: Node): Node | undefined {
  if (!isCallExpression(node) || !isPropertyAccessExpression(node.expression)) return undefined
  if (!ROUTE_METHODS.has(node.expression.name.text) || node.arguments.length < 2) return undefined
  return node.arguments.at(-1)
}

function functionsOf(root: SourceFile): FunctionLines[] {
  const functions: FunctionLines[] = []
  visit(root, node => {
    if (!isFunction(node)) return
    const line = lineOf(root, node.getStart(root))
    functions.push({ name: nameOf(node), line, lines: lineOf(root, node.end) - line + 1 })
  })
  return functions
}

function lineOf(root: SourceFile, position: number): number {
  return root.getLineAndCharacterOfPosition(position).line + 1
}

/** The name of a function, or of the variable or property whose value it is. */
function nameOf(node: Node): string {
  if (isConstructorDeclaration(node)) return 'constructor'
  if ('name' in node && node.name !== undefined) return textOf(node.name)
  const { parent } = node
  const isNamed = isVariableDeclaration(parent) || isPropertyAssignment(parent) || isPropertyDeclaration(parent)
  return isNamed ? textOf(parent.name) : '(anonymous)'
}

function textOf(name: unknown): string {
  return typeof name === 'object' && name !== null && 'text' in name ? String(name.text) : '(computed)'
}
