import {
  type CallExpression,
  isCallExpression,
  isIdentifier,
  isNoSubstitutionTemplateLiteral,
  isPropertyAccessExpression,
  isStringLiteral,
  isTemplateExpression,
  type Node,
  type SourceFile,
  SyntaxKind
} from 'typescript/unstable/ast'
import { parsed, type SourceText, visit } from './syntax-tree.ts'

/** A text of a source that people read. */
export interface Prose {
  file: string
  line: number
  text: string
}

/** Tokens in which `//` and `/*` do not begin a comment. */
const LITERALS = new Set<SyntaxKind>([
  SyntaxKind.StringLiteral,
  SyntaxKind.NoSubstitutionTemplateLiteral,
  SyntaxKind.TemplateHead,
  SyntaxKind.TemplateMiddle,
  SyntaxKind.TemplateTail,
  SyntaxKind.RegularExpressionLiteral
])

const COMMENT = /\/\/[^\n]*|\/\*[\s\S]*?\*\//g

/** The argument with the message, of assertions in which it is not the third one. */
const MESSAGE_ARGUMENTS: Readonly<Record<string, number>> = { pass: 0, fail: 0, comment: 0, ok: 1, notOk: 1 }

/**
 * The prose of TypeScript and JavaScript files: comments, names of tests (`test('…')`, `t.test('…')`, `recordedTest('…')`)
 * and messages of assertions (`t.equal(a, b, '…')`). Names and messages are texts in the call itself, without the
 * expressions of templates.
 * @returns the texts in the order of the files: first the comments of a file, then its names and messages
 */
export function proseOfCode(sources: readonly SourceText[]): Prose[] {
  const texts = new Map(sources.map(({ file, text }) => [file, text]))
  return parsed(sources, (file, root) => {
    const source = texts.get(file) ?? ''
    const at = (offset: number) => root.getLineAndCharacterOfPosition(offset).line + 1
    const comments = [...withoutLiterals(root, source).matchAll(COMMENT)].map(({ index, 0: text }) => ({
      file,
      line: at(index),
      text
    }))
    const names: Prose[] = []
    visit(root, node => {
      const name = isCallExpression(node) && nameOrMessage(node)
      if (!name) return
      const pieces = piecesOf(name).map(piece => source.slice(piece.getStart(root), piece.end))
      if (pieces.length > 0) names.push({ file, line: at(name.getStart(root)), text: pieces.join('').slice(1, -1) })
    })
    return [...comments, ...names]
  })
}

/** A source whose literals are blank, with the same offsets. */
function withoutLiterals(root: SourceFile, source: string): string {
  let rest = ''
  let end = 0
  visit(root, node => {
    if (!LITERALS.has(node.kind)) return
    const start = node.getStart(root)
    rest += source.slice(end, start) + ' '.repeat(node.end - start)
    end = node.end
  })
  return rest + source.slice(end)
}

/** The argument of a call that is the name of a test or the message of an assertion; undefined for other calls. */
function nameOrMessage({ expression, arguments: args }: CallExpression): Node | undefined {
  if (isIdentifier(expression)) return /test$/i.test(expression.text) ? args[0] : undefined
  if (!isPropertyAccessExpression(expression)) return undefined
  const method = expression.name.text
  if (method === 'test') return args[0]
  const isAssertion = isIdentifier(expression.expression) && expression.expression.text === 't'
  return isAssertion ? args[MESSAGE_ARGUMENTS[method] ?? 2] : undefined
}

/** The tokens of a text without the expressions in it; none of other nodes. */
function piecesOf(node: Node): Node[] {
  if (isStringLiteral(node) || isNoSubstitutionTemplateLiteral(node)) return [node]
  return isTemplateExpression(node) ? [node.head, ...node.templateSpans.map(({ literal }) => literal)] : []
}
