import {
  type CallExpression,
  type Expression,
  isArrayLiteralExpression,
  isArrowFunction,
  isBinaryExpression,
  isCallExpression,
  isElementAccessExpression,
  isIdentifier,
  isNewExpression,
  isNoSubstitutionTemplateLiteral,
  isParenthesizedExpression,
  isPropertyAccessExpression,
  isPropertyAssignment,
  isShorthandPropertyAssignment,
  isStringLiteral,
  isTemplateExpression,
  isVariableDeclaration,
  type Node,
  type SourceFile,
  SyntaxKind
} from 'typescript/unstable/ast'
import { parsed, type SourceText, visit } from './syntax-tree.ts'

/** Assertions whose expected value may be a part of the actual one: arrays may have surplus elements. */
const PARTIAL = new Set(['match', 'notMatch', 'has', 'notHas', 'hasStrict', 'notHasStrict', 'rejects', 'throws'])

/** Of those, the ones that search for an expected text anywhere in the actual one, or compare with `==`. */
const TEXT_IN_TEXT = new Set(['match', 'has', 'rejects', 'throws'])

const COMPARISONS = new Set<SyntaxKind>([
  SyntaxKind.LessThanToken,
  SyntaxKind.LessThanEqualsToken,
  SyntaxKind.GreaterThanToken,
  SyntaxKind.GreaterThanEqualsToken
])

/**
 * Finds assertions that pass although the value is wrong, or that do not show the number that is wrong:
 * - a partial match (`match`, `has`, `hasStrict`, `rejects`, `throws`) with an array literal in the expected value:
 *   the actual array may have more elements;
 * - a match with an expected text that contains a digit: '11' is found in '-1110.5';
 * - `same` and `notSame`: they compare with `==`;
 * - `ok`, `notOk`, and `equal` with true or false, of an order comparison (`<`, `<=`, `>`, `>=`) whose message has no
 *   expression with a name of the compared values.
 *
 * Names in the expected value are resolved to variables of the same file, and to its functions of one expression.
 * @returns one line per assertion: `file:line: reason`, in the order of the files
 */
export function looseAssertions(sources: readonly SourceText[]): string[] {
  return parsed(sources, (file, root) => {
    const variables = initializersOf(root)
    const found: string[] = []
    visit(root, node => {
      if (!isCallExpression(node)) return
      const reason = reasonAgainst(node, variables)
      if (reason) found.push(`${file}:${root.getLineAndCharacterOfPosition(node.getStart(root)).line + 1}: ${reason}`)
    })
    return found
  })
}

/** Why an assertion is wrong, or undefined. */
function reasonAgainst(call: CallExpression, variables: Variables): string | undefined {
  if (!isPropertyAccessExpression(call.expression)) return
  const method = call.expression.name.text
  const [actual, expected, message] = call.arguments
  if (!actual) return
  if (method === 'same' || method === 'notSame') return `${method} compares with ==`
  if (method === 'ok' || method === 'notOk') return reasonAgainstComparison(actual, expected)
  if (!expected) return
  if (method === 'equal' && isBoolean(expected)) return reasonAgainstComparison(actual, message)
  if (!PARTIAL.has(method)) return
  const values = valuesIn(expected, variables)
  if (values.some(isArrayLiteralExpression)) return `${method} accepts surplus elements of an array`
  if (TEXT_IN_TEXT.has(method) && values.some(hasDigit)) return `${method} finds a text with a digit inside other texts`
  return
}

/** An order comparison has to be explained by a message that shows one of the compared values. */
function reasonAgainstComparison(checked: Expression, message: Expression | undefined): string | undefined {
  if (!anyOf(checked, node => isBinaryExpression(node) && COMPARISONS.has(node.operatorToken.kind))) return
  const compared = namesIn(checked)
  const isShown = message !== undefined && [...namesIn(message)].some(name => compared.has(name))
  return isShown ? undefined : 'the message does not show the compared value'
}

/** The initializers of the variables of a file by their name; several scopes may use the same name. */
type Variables = ReadonlyMap<string, readonly Expression[]>

function initializersOf(root: SourceFile): Variables {
  const variables = new Map<string, Expression[]>()
  visit(root, node => {
    if (!isVariableDeclaration(node) || !isIdentifier(node.name) || !node.initializer) return
    variables.set(node.name.text, [...(variables.get(node.name.text) ?? []), node.initializer])
  })
  return variables
}

/** The nodes of an expected value without names of properties, and those of the variables that it names. */
function valuesIn(expected: Expression, variables: Variables): Node[] {
  const values: Node[] = []
  const followed = new Set<string>()
  const enter = (node: Node): undefined => {
    values.push(node)
    if (isIdentifier(node)) follow(node.text)
    else if (isPropertyAssignment(node)) enter(node.initializer)
    else if (isShorthandPropertyAssignment(node)) enter(node.name)
    else if (isNewExpression(node) && node.expression.getText() === 'RegExp') return
    else if (isPropertyAccessExpression(node) || isElementAccessExpression(node)) enterOwner(node.expression)
    else node.forEachChild(enter)
  }
  const enterOwner = (owner: Expression) => {
    if (!isIdentifier(owner)) enter(owner)
  }
  const follow = (name: string) => {
    if (followed.has(name)) return
    followed.add(name)
    for (const initializer of variables.get(name) ?? []) {
      const value = valueOfVariable(initializer)
      if (isLiteral(value)) enter(value)
    }
  }
  enter(expected)
  return values
}

/** The value of a variable in an expected value: the result of a function of one expression, or the value itself. */
function valueOfVariable(initializer: Expression): Node {
  if (isParenthesizedExpression(initializer)) return valueOfVariable(initializer.expression)
  if (!isArrowFunction(initializer)) return initializer
  return isParenthesizedExpression(initializer.body) ? initializer.body.expression : initializer.body
}

function isLiteral(node: Node): boolean {
  return isArrayLiteralExpression(node) || node.kind === SyntaxKind.ObjectLiteralExpression || isText(node)
}

function isText(node: Node): node is Node & { text: string } {
  return isStringLiteral(node) || isNoSubstitutionTemplateLiteral(node)
}

/** A text with a digit, or a composed text, which may have one. */
function hasDigit(node: Node): boolean {
  return isTemplateExpression(node) || (isText(node) && /\d/.test(node.text))
}

function isBoolean(node: Node): boolean {
  return node.kind === SyntaxKind.TrueKeyword || node.kind === SyntaxKind.FalseKeyword
}

/** Names of variables, without names of properties. */
function namesIn(expression: Expression): Set<string> {
  const names = new Set<string>()
  const enter = (node: Node): undefined => {
    if (isIdentifier(node)) names.add(node.text)
    if (isPropertyAccessExpression(node)) enter(node.expression)
    else node.forEachChild(enter)
  }
  enter(expression)
  return names
}

function anyOf(node: Node, matches: (node: Node) => boolean): boolean {
  let found = false
  visit(node, inner => {
    found ||= matches(inner)
  })
  return found
}
