import fc from 'fast-check'
import t from 'tap'
import { excerptOf, MAX_EXCERPT } from '../../src/exchanges/excerpt.ts'

t.test('an excerpt keeps names, numbers, words and symbols, and the length of other texts', async t => {
  const row = { symbol: 'BTC-USDT', status: 'NEW', price: '-1.5E-7', clientId: 'x-8!', list: [{ a: true }, null], n: 5 }
  t.equal(
    excerptOf(row, []),
    '{"symbol":"BTC-USDT","status":"NEW","price":"-1.5E-7","clientId":"(4 characters)","list":[{"a":true},null],"n":5}'
  )
})

t.test('texts in fields named like credentials are replaced', async t => {
  t.equal(
    excerptOf('{"apiKey" : "ABC","Signature":"x","passphrase":1,"state":"NEW"}', []),
    '{"apiKey": "(3 characters)","Signature":"(1 characters)","passphrase":1,"state":"NEW"}'
  )
})

t.test('a secret in other capitals is replaced', async t => {
  const secrets = ['OpenSesame', 'KEYOFALICE']
  t.equal(excerptOf({ text: 'opensesame', name: 'KeyOfAlice', opensesame: 1 }, secrets).match(/sesame|alice/i), null)
})

t.test('the beginning of a row is an excerpt without its last, cut text', async t => {
  t.equal(excerptOf('{"price":"NaN","name":"BTC', []), '{"price":"NaN","name":"(3 characters)"')
  t.equal(excerptOf('{"a":\u0000é1}', []), '{"a":??1}')
  t.equal(excerptOf(null, []), 'null')
  t.equal(excerptOf(undefined, []), '')
})

t.test('no excerpt contains a secret, and none is longer than the bound', async () => {
  const secret = fc.string({ minLength: 8, maxLength: 40 })
  fc.assert(
    fc.property(secret, fc.json(), fc.boolean(), (secret, json, isName) => {
      const row = isName ? { [secret]: json } : { text: `a${secret}b`, status: secret, list: [secret, json] }
      for (const form of [row, JSON.stringify(row), `${json}${secret}${json}`]) {
        const excerpt = excerptOf(form, [secret])
        if (excerpt.includes(secret) || excerpt.length > MAX_EXCERPT) return false
      }
      return true
    })
  )
})
