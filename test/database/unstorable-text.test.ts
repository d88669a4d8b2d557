import t from 'tap'
import { holdsUnstorableText } from '../../src/database/unstorable-text.ts'

t.test('text that Postgres cannot store is found at any depth', async t => {
  for (const bad of ['\0', 'a\ud800', ['a', { b: ['\udc00b'] }], { '\0': 1 }]) t.ok(holdsUnstorableText(bad))
  for (const good of ['', '💣 \u0001', ['a', { b: null }], 7, null, undefined]) t.notOk(holdsUnstorableText(good))
})

t.test('a deeply nested value does not overflow the stack', async t => {
  t.notOk(holdsUnstorableText(JSON.parse(`${'['.repeat(20_000)}${']'.repeat(20_000)}`)))
})
