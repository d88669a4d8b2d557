import t from 'tap'
import { badHandlers, longFunctions } from './long-functions.ts'

/** A source with a statement of the given number of lines in place of `BODY`. */
const source = (text: string, lines: number) => [
  { file: 'a.ts', text: text.replace('BODY', Array.from({ length: lines }, () => '  f()').join('\n')) }
]

t.test('functions of every kind are counted with their first and last line', async t => {
  const kinds = {
    declared: 'function declared() {\nBODY\n}',
    arrow: 'const arrow = async () => {\nBODY\n}',
    expression: 'const expression = function () {\nBODY\n}',
    property: 'const object = { property: () => {\nBODY\n} }',
    method: 'class A { method() {\nBODY\n} }',
    '#hidden': 'class A { #hidden() {\nBODY\n} }',
    field: 'class A { field = () => {\nBODY\n} }',
    accessor: 'class A { get accessor() {\nBODY\n} }',
    constructor: 'class A { constructor() {\nBODY\n} }',
    '(anonymous)': 'call(() => {\nBODY\n})'
  }
  for (const [name, text] of Object.entries(kinds)) {
    t.strictSame(longFunctions(source(text, 3), 5), [], name)
    t.strictSame(longFunctions(source(text, 4), 5), [`a.ts:1 ${name}: 6 lines`], name)
  }
})

t.test('the comment above a function is not counted', async t => {
  t.strictSame(longFunctions(source('/**\n * A comment.\n */\nfunction f() {\nBODY\n}', 3), 5), [])
})

t.test('a handler has a name, and at most the given number of lines', async t => {
  const named = "app.get('/x', { schema }, handler)\nconst handler: Handler = async () => {\nBODY\n}"
  t.strictSame(badHandlers(source(named, 8), 10), [])
  t.strictSame(badHandlers(source(named, 9), 10), ['a.ts:1: handler has 11 lines'])
  t.strictSame(badHandlers(source("app.post('/x', async () => {\nBODY\n})", 1), 10), [
    'a.ts:1: the handler has no name'
  ])
  t.strictSame(badHandlers(source("map.get('x')\nBODY", 1), 10), [], 'a call with one argument adds no route')
})
