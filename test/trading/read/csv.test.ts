import fc from 'fast-check'
import t from 'tap'
import { csvLine, type Value } from '../../../src/trading/read/csv.ts'
import { parseCsv } from '../../support/csv.ts'

t.test('a line has commas, quotes where they are needed, and CRLF at its end', async t => {
  t.equal(csvLine(['a', 1, null, true, '1.50']), 'a,1,,true,1.50\r\n')
  t.equal(
    csvLine(['a,b', 'say "a"', 'two\nlines', 'with\rreturn']),
    '"a,b","say ""a""","two\nlines","with\rreturn"\r\n'
  )
  t.equal(csvLine([[{ kind: 'asset', amount: '1' }], []]), '"[{""kind"":""asset"",""amount"":""1""}]",[]\r\n')
  t.equal(csvLine([]), '\r\n')
})

t.test('a text that a spreadsheet reads as a formula begins with an apostrophe, a number does not', async t => {
  const formulas: [string, string][] = [
    ['=1+1', "'=1+1"],
    ['+1', "'+1"],
    ['-1+1', "'-1+1"],
    ['-1e3', "'-1e3"],
    ['@SUM(A1)', "'@SUM(A1)"],
    ['\t=1', "'\t=1"],
    ['\r=1', `"'\r=1"`],
    ['\n=1', `"'\n=1"`],
    ['＝1+1', "'＝1+1"],
    ['＋1', "'＋1"],
    ['－1', "'－1"],
    ['＠SUM(A1)', "'＠SUM(A1)"],
    ['=HYPERLINK("x","y")', `"'=HYPERLINK(""x"",""y"")"`],
    ['-', "'-"],
    ['-1.', "'-1."]
  ]
  for (const [text, cell] of formulas) t.equal(csvLine([text]), `${cell}\r\n`)
  for (const number of ['-1', '-0.00000001', `-${'9'.repeat(40)}.5`, '1', 'a=1', ' =1']) {
    t.equal(csvLine([number]), `${number}\r\n`)
  }
})

t.test('what a parser of RFC 4180 reads is what was written', async t => {
  const text = fc.string({ unit: fc.constantFrom('a', '"', ',', '\r', '\n', ' ', '=', '-', '1', '비') })
  const value: fc.Arbitrary<Value> = fc.oneof(text, fc.integer(), fc.constant(null), fc.boolean())
  const lines = fc.array(fc.array(value, { minLength: 2, maxLength: 5 }))
  fc.assert(
    fc.property(lines, rows => {
      const read = parseCsv(rows.map(csvLine).join(''))
      t.strictSame(
        read.map(row => row.map(cell => cell.replace(/^'(?=[=+\-@\t\r\n])/, ''))),
        rows.map(row => row.map(cell => (cell === null ? '' : String(cell))))
      )
    }),
    { numRuns: 200 }
  )
})
