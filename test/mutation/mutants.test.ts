import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { projectRoot } from '../support/project.ts'

interface Mutant {
  start: number
  end: number
  text: string
}

const { mutantsOf }: { mutantsOf: (source: string) => Mutant[] } = await import(
  pathToFileURL(join(projectRoot, 'scripts/mutation/mutants.js')).href
)

/** The whole source of every mutant, in the order of their positions. */
function mutated(source: string): string[] {
  return mutantsOf(source).map(({ start, end, text }) => source.slice(0, start) + text + source.slice(end))
}

t.test('operators, conditions and literals are changed', async t => {
  t.strictSame(mutated('a < b'), ['a <= b'])
  t.strictSame(mutated('a === b && c'), ['a !== b && c', 'a === b || c'])
  t.strictSame(mutated('a ?? b'), ['a && b'])
  t.strictSame(mutated('x = a + 2'), ['x = a - 2', 'x = a + (1)', 'x = a + 3'])
  t.strictSame(mutated('x += a'), ['x -= a'])
  t.strictSame(mutated('i++'), ['i--'])
  t.strictSame(mutated('!a ? b : c'), ['a ? b : c', 'false ? b : c', 'true ? b : c'])
  t.strictSame(mutated('while (a) b'), ['while (false) b'])
  t.strictSame(mutated('x = true'), ['x = false'])
  t.strictSame(mutated(`x = [a, 'b']`), ['x = []', `x = [a, '']`])
  t.strictSame(mutated('x = a?.b'), ['x = a.b'])
  t.strictSame(mutated('x = a?.[b]'), ['x = a[b]'])
})

t.test('calls are removed, and an awaited call is also made twice', async t => {
  t.strictSame(mutated('a.push(b);'), [';'])
  t.strictSame(mutated('await a(b, c);'), [';', ';await a(b, c);await a(b, c);'])
  t.strictSame(mutated('x = negated(fee)'), ['x = fee'])
  t.strictSame(mutated('x = rows.filter(f)'), ['x = rows'])
  t.strictSame(mutated('x = Math.min(a, b)'), ['x = Math.max(a, b)'])
  t.strictSame(mutated('x = rows.some(f)'), ['x = rows.every(f)'])
})

t.test('a returned value is removed, but not a returned null', async t => {
  t.strictSame(mutated('function f() { return a }'), ['function f() { return undefined }'])
  t.strictSame(mutated('function f() { return null }'), [])
})

t.test('names, log lines and messages of errors are not changed', async t => {
  t.strictSame(mutated(`import a from 'a'`), [])
  t.strictSame(mutated(`x = { 'a': b }`), [])
  t.strictSame(mutated(`class A { #log; f() { this.#log.warn({ a: 1 }, 'b'); } }`), [])
  t.strictSame(mutated(`options.log.info('b');`), [])
  t.strictSame(mutated(`throw new Error('a')`), [])
  t.strictSame(mutated(`throw new ExchangeError('a')`), [`throw new ExchangeError('')`])
  t.strictSame(mutated(`x = rowsOf(a, 'b')`), [])
  t.strictSame(mutated('x = `a` + b'), [])
})

t.test('the SQL of a tagged template is changed', async t => {
  t.strictSame(mutated('tx`select a from t where b <= 1 and c is null order by a desc`'), [
    'tx`select a from t where b < 1 and c is null order by a desc`',
    'tx`select a from t where b <= 2 and c is null order by a desc`',
    'tx`select a from t where b <= 1 or c is null order by a desc`',
    'tx`select a from t where b <= 1 and c is not null order by a desc`',
    'tx`select a from t where b <= 1 and c is null order by a asc`'
  ])
  t.strictSame(mutated(`tx\`select max(a) - \${b} from t where c in ('d')\``), [
    `tx\`select min(a) - \${b} from t where c in ('d')\``,
    `tx\`select max(a) + \${b} from t where c in ('d')\``,
    `tx\`select max(a) - \${b} from t where c in ('')\``
  ])
})

t.test('an SQL assignment is not a comparison, and the `and` of a between is not changed', async t => {
  t.strictSame(mutated('tx`update t set a = b, c = d where e = f`'), ['tx`update t set a = b, c = d where e <> f`'])
  t.strictSame(mutated('tx`select * from t where a between b and c`'), [])
  t.strictSame(mutated('tx`select a -- and b < c`'), [], 'a comment is not SQL')
})

t.test('text in a template without a tag is not changed', async t => {
  t.strictSame(mutated('x = `a < b and c`'), [])
})
