import t from 'tap'
import { assertTexts } from './assert-texts.ts'

/** Whether the assertion passes. */
function passes(texts: readonly string[], patterns: readonly RegExp[]): boolean {
  const results: boolean[] = []
  const record = (result: boolean) => {
    results.push(result)
    return result
  }
  assertTexts(
    {
      equal: (found: unknown, wanted: unknown) => record(found === wanted),
      match: (text: unknown, pattern: RegExp) => record(pattern.test(String(text)))
    },
    texts,
    patterns
  )
  return results.every(result => result)
}

t.test('equal numbers of texts and patterns pass if each text matches the pattern with its index', async t => {
  t.equal(passes(['one', 'two'], [/one/, /two/]), true)
  t.equal(passes([], []), true)
})

t.test('surplus, missing and exchanged texts fail', async t => {
  t.equal(passes(['one', 'two'], [/one/]), false)
  t.equal(passes(['one'], [/one/, /two/]), false)
  t.equal(passes(['two', 'one'], [/one/, /two/]), false)
})
