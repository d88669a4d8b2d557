import t from 'tap'
import { languageOf, message, messageKeys } from '../src/messages.ts'

t.test('every message exists in both languages, with the same placeholders', async t => {
  const places = (text: string) => [...text.matchAll(/\{\w+\}/g)].map(([place]) => place).sort()
  for (const key of messageKeys) {
    const raw = (language: 'ko' | 'en') =>
      message(key, language, new Proxy({}, { get: (_o, name) => `{${String(name)}}` }))
    t.ok(raw('ko') && raw('en'), key)
    t.strictSame(places(raw('ko')), places(raw('en')), key)
  }
})

t.test('placeholders are replaced', async t => {
  t.equal(message('rule.enum', 'en', { allowedValues: ['a', 'b'] }), 'must be one of: a, b')
  t.equal(message('rule.maxLength', 'ko', { limit: 3 }), '3자 이하여야 합니다')
})

t.test('a placeholder without a value is empty', async t => {
  t.equal(message('rule.minimum', 'en'), 'must be at least ')
})

t.test('the language is the preferred one of the two, Korean by default', async t => {
  const preferences: [header: string | undefined, language: 'ko' | 'en'][] = [
    [undefined, 'ko'],
    ['', 'ko'],
    ['en', 'en'],
    ['en-GB,en;q=0.8', 'en'],
    ['ko-KR,ko;q=0.9,en;q=0.8', 'ko'],
    ['de,en;q=0.5,ko;q=0.4', 'en'],
    ['en;q=0', 'ko'],
    ['fr', 'ko'],
    ['*', 'ko'],
    ['en;q=abc', 'en'],
    [`${'x'.repeat(300)},en`, 'ko']
  ]
  for (const [header, language] of preferences) t.equal(languageOf(header), language, String(header).slice(0, 40))
})
