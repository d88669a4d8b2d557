import t from 'tap'
import { cell, table } from '../../src/cli/table.ts'

t.test('columns are aligned below a header line, without trailing blanks', async t => {
  t.equal(
    table(
      ['name', 'role'],
      [
        ['ops', 'admin'],
        ['bartholomew', 'user']
      ]
    ),
    'name         role\nops          admin\nbartholomew  user'
  )
})

t.test('an absent value is shown as a dash, and control characters are removed', async t => {
  t.strictSame([null, undefined, 0, 'a\u001b[2J\nb'].map(cell), ['-', '-', '0', 'a [2J b'])
  t.equal(table(['a'], [['b\nc']]), 'a\nb c')
})
