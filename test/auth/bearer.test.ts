import t from 'tap'
import { bearerOf } from '../../src/auth/bearer.ts'

/** The credential of `Authorization` headers with these values. */
const of = (...values: string[]) =>
  bearerOf(['host', 'x', ...values.flatMap((value, i) => [i % 2 === 0 ? 'Authorization' : 'AUTHORIZATION', value])])

t.test('the credential follows the scheme, whose case does not count', async t => {
  for (const scheme of ['Bearer', 'bearer', 'BEARER', 'bEaReR']) t.equal(of(`${scheme} th_abc`), 'th_abc', scheme)
  t.equal(of('Bearer    th_abc'), 'th_abc', 'several spaces')
})

t.test('a malformed header has a credential that is no token', async t => {
  const malformed = [
    ['Bearer'],
    ['Bearer '],
    ['Bearer\tth_abc'],
    ['Bearer th_abc th_def'],
    ['Bearer th_abc, Bearer th_def'],
    ['Bearer,th_abc'],
    ['Bearer=th_abc'],
    ['Bearer th_abc', 'Bearer th_def'],
    ['Bearer th_abc', 'Basic eDp5'],
    ['Basic eDp5', 'Bearer th_abc']
  ]
  for (const values of malformed) t.equal(of(...values), '', values.join(' | '))
})

t.test('headers of other schemes are no credential', async t => {
  for (const value of ['Basic eDp5', 'Bearers th_abc', 'Bearer-x th_abc', 'Digest bearer', 'th_abc', '']) {
    t.equal(of(value), undefined, value)
  }
  t.equal(bearerOf(['x-authorization', 'Bearer th_abc', 'Bearer th_abc', 'authorization']), undefined)
  t.equal(bearerOf([]), undefined)
})
