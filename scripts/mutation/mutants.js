/** The mutants of a JavaScript file: one small change each, in the code and in the SQL of its tagged templates. */
import { parse } from 'acorn'
import { fullAncestor } from 'acorn-walk'

/**
 * @typedef {{ start: number, end: number, text: string, mutator: string }} Mutant
 * `start` and `end` are offsets in the file, `text` replaces what is between them.
 */

const BINARY = {
  '<': ['<='],
  '<=': ['<'],
  '>': ['>='],
  '>=': ['>'],
  '===': ['!=='],
  '!==': ['==='],
  '+': ['-'],
  '-': ['+'],
  '*': ['/'],
  '/': ['*'],
  '%': ['*'],
  '&&': ['||'],
  '||': ['&&'],
  '??': ['&&'],
  '+=': ['-='],
  '-=': ['+='],
  '++': ['--'],
  '--': ['++']
}
const SWAPPED_METHODS = {
  min: 'max',
  max: 'min',
  some: 'every',
  every: 'some',
  startsWith: 'endsWith',
  endsWith: 'startsWith'
}
/** Errors whose arguments are a message. */
const MESSAGES_ONLY = new Set(['Error', 'RangeError', 'UnreadableAnswer', 'UnsupportedSymbol'])
/** Functions whose second argument names a place in such a message. */
const NAMES_PLACE = new Set(['recordOf', 'rowsOf'])
const REMOVED_METHODS = new Set(['filter', 'sort', 'toSorted', 'reverse', 'slice', 'trim'])

/**
 * Log lines and messages of errors are not changed: mutation testing is about results, not about texts.
 *
 * @param {string} source an ES module
 * @returns {Mutant[]} by position
 * @throws {SyntaxError} when it is not JavaScript
 */
export function mutantsOf(source) {
  const mutants = []
  const program = parse(source, { ecmaVersion: 'latest', sourceType: 'module' })
  fullAncestor(program, (node, _state, ancestors) => {
    if (isProse(node.type === 'ExpressionStatement' ? [...ancestors, node.expression] : ancestors)) return
    const parent = ancestors.at(-2)
    const add = (mutator, start, end, text) => {
      if (source.slice(start, end) !== text) mutants.push({ start, end, text, mutator })
    }
    codeMutants(node, parent, source, add)
    if (node.type === 'TaggedTemplateExpression') sqlMutants(node.quasi, add)
  })
  return mutants.sort((a, b) => a.start - b.start || a.end - b.end || a.text.localeCompare(b.text))
}

/** Whether a node is within a log call or an error that is constructed. */
function isProse(ancestors) {
  return ancestors.some(
    node =>
      (node.type === 'NewExpression' && MESSAGES_ONLY.has(node.callee.name)) ||
      (node.type === 'CallExpression' &&
        node.callee.type === 'MemberExpression' &&
        /^#?log$/.test(node.callee.object.property?.name ?? node.callee.object.name ?? ''))
  )
}

function codeMutants(node, parent, source, add) {
  const textOf = part => source.slice(part.start, part.end)
  const test = node.test && [node.test.start, node.test.end]
  switch (node.type) {
    case 'BinaryExpression':
    case 'LogicalExpression':
    case 'AssignmentExpression': {
      if (node.operator === '+' && [node.left, node.right].some(isText)) return
      const from = source.indexOf(node.operator, node.left.end)
      for (const text of BINARY[node.operator] ?? []) add('operator', from, from + node.operator.length, text)
      return
    }
    case 'UpdateExpression': {
      const from = node.prefix ? node.start : node.end - 2
      return add('operator', from, from + 2, BINARY[node.operator][0])
    }
    case 'UnaryExpression':
      if (node.operator === '!' || node.operator === '-') add('unary', node.start, node.end, textOf(node.argument))
      return
    case 'IfStatement':
    case 'ConditionalExpression':
      add('condition', ...test, 'true')
      add('condition', ...test, 'false')
      return
    case 'WhileStatement':
    case 'ForStatement':
      if (test) add('condition', ...test, 'false')
      return
    case 'Literal':
      return literalMutants(node, parent, add)
    case 'ArrayExpression':
      if (node.elements.length > 0) add('array', node.start, node.end, '[]')
      return
    case 'ReturnStatement':
      if (node.argument && !/^(undefined|null)$/.test(textOf(node.argument)))
        add('return', node.argument.start, node.argument.end, 'undefined')
      return
    case 'ExpressionStatement':
      return statementMutants(node, textOf, add)
    case 'MemberExpression':
      if (node.optional) add('optional', node.object.end, node.property.start, node.computed ? '[' : '.')
      return
    case 'CallExpression':
      return callMutants(node, textOf, add)
  }
}

function isText(node) {
  return node.type === 'TemplateLiteral' || (node.type === 'Literal' && typeof node.value === 'string')
}

function literalMutants(node, parent, add) {
  const change = (mutator, text) => add(mutator, node.start, node.end, text)
  if (typeof node.value === 'boolean') change('boolean', String(!node.value))
  if (typeof node.value === 'number') {
    change('number', String(node.value + 1))
    change('number', `(${node.value - 1})`)
  }
  const isName =
    /^(Import|Export)/.test(parent.type) ||
    (parent.type === 'Property' && parent.key === node) ||
    (parent.type === 'CallExpression' && NAMES_PLACE.has(parent.callee.name))
  if (typeof node.value === 'string' && !isName) change('text', "''")
}

function statementMutants({ expression, start, end }, textOf, add) {
  const called = expression.type === 'AwaitExpression' ? expression.argument : expression
  if (called.type !== 'CallExpression' || called.callee.type === 'Super') return
  const statement = textOf(expression)
  add('call', start, end, ';')
  if (called !== expression) add('call', start, end, `;${statement};${statement};`)
}

function callMutants(node, textOf, add) {
  const [first] = node.arguments
  const { callee } = node
  if (callee.type === 'Identifier' && node.arguments.length === 1 && /^(Identifier|MemberExpression)$/.test(first.type))
    add('argument', node.start, node.end, textOf(first))
  if (callee.type !== 'MemberExpression' || callee.computed) return
  const { name } = callee.property
  const swapped = Object.hasOwn(SWAPPED_METHODS, name) ? SWAPPED_METHODS[name] : undefined
  if (swapped) add('method', callee.property.start, callee.property.end, swapped)
  if (REMOVED_METHODS.has(name)) add('method', callee.object.end, node.end, '')
}

/**
 * Patterns of SQL, and the replacement of each match; a function of the text before it may return undefined, for no
 * mutant.
 */
const SQL = [
  [/(?<= )<=(?= )/g, () => '<'],
  [/(?<= )>=(?= )/g, () => '>'],
  [/(?<= )<(?= )/g, () => '<='],
  [/(?<= )>(?= )/g, () => '>='],
  [/(?<= )<>(?= )/g, () => '='],
  [/(?<= )=(?= )/g, before => (compares(before) ? '<>' : undefined)],
  [/(?<=[\w)] )\+(?= )/g, () => '-'],
  [/(?<=[\w)] )-(?= )/g, () => '+'],
  [/(?<=[\w)] )\*(?= )/g, before => (/\bselect $/.test(before) ? undefined : '/')],
  [/(?<=[\w)] )\/(?= )/g, () => '*'],
  [/\band\b/g, before => (/\bbetween [^ ]*\s*$/.test(before) ? undefined : 'or')],
  [/\bor\b/g, () => 'and'],
  [/\bdesc\b/g, () => 'asc'],
  [/\basc\b/g, () => 'desc'],
  [/\bmin(?=\()/g, () => 'max'],
  [/\bmax(?=\()/g, () => 'min'],
  [/\bleast(?=\()/g, () => 'greatest'],
  [/\bgreatest(?=\()/g, () => 'least'],
  [/\bis null\b/g, () => 'is not null'],
  [/\bis not null\b/g, () => 'is null'],
  [/\bnot exists\b/g, () => 'exists'],
  [/(?<!not )\bexists(?= \()/g, () => 'not exists'],
  [/\bleft join\b/g, () => 'join'],
  [/\bdistinct /g, () => ''],
  [/\btrue\b/g, before => (/\bon $/.test(before) ? undefined : 'false')],
  [/\bfalse\b/g, () => 'true'],
  [/'[^']+'/g, () => "''"],
  [/(?<=[ (])\d+(?=[ ),;:]|$)/gm, (_before, digits) => String(Number(digits) + 1)]
]

function sqlMutants({ quasis }, add) {
  let before = ''
  for (const { start, end, value } of quasis) {
    // Comments are not SQL; raw, since offsets are those of the file.
    const text = value.raw.replace(/--.*/g, comment => ' '.repeat(comment.length))
    if (end - start !== text.length) throw new Error('a template whose offsets are not those of its text')
    for (const [pattern, replace] of SQL) {
      for (const { index, 0: found } of text.matchAll(pattern)) {
        const replacement = replace(before + text.slice(0, index), found)
        if (replacement !== undefined) add('sql', start + index, start + index + found.length, replacement)
      }
    }
    before += `${text}x`
  }
}

/** Whether `=` after this text is a comparison: the last clause is not a list of assignments. */
function compares(before) {
  const clauses = [...before.matchAll(/\b(where|on|and|or|when|having|not|set|select|filter|exists|,)\b|,/g)]
  const last = clauses.at(-1)?.[0]
  return last !== undefined && last !== 'set' && last !== ','
}
