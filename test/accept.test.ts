import t from 'tap'
import { namedWeightOf, weightOf } from '../src/accept.ts'

t.test('the most specific range of an Accept header counts', async t => {
  const cases: [accept: string | undefined, weight: number][] = [
    [undefined, 1],
    ['*/*', 1],
    ['text/csv', 1],
    ['TEXT/CSV ; Q=0.5', 0.5],
    ['text/*;q=0.3', 0.3],
    ['text/*;q=0.3, text/csv;q=0.7, */*', 0.7],
    ['text/csv;q=0, */*', 0],
    ['text/csv;header=present;q=0.4', 0.4],
    ['text/csv;q=nonsense', 1],
    ['text/csv;q=1.2.3', 0],
    ['application/json', 0],
    ['', 0],
    [', ;, ;q=1', 0]
  ]
  for (const [accept, weight] of cases) t.equal(weightOf('text/csv', accept), weight, String(accept))
})

t.test('a range does not name a type', async t => {
  t.equal(namedWeightOf('text/html', 'text/*, */*'), 0)
  t.equal(namedWeightOf('text/html', 'text/html;q=0.2, */*'), 0.2)
})
