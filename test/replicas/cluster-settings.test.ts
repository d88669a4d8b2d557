import t from 'tap'
import { loadConfig } from '../../src/config.ts'
import { clusterSettings, differentSettings } from '../../src/replicas/cluster-settings.ts'

const [first, second, third] = ['a', 'b', 'c'].map(letter => letter.repeat(40))
const settings = (environment: Record<string, string | undefined> = {}) =>
  clusterSettings(loadConfig({ SESSION_SECRET: first, ...environment }))

t.test('replicas agree when the settings that jobs depend on are equal', async t => {
  t.strictSame(differentSettings(settings(), settings({ PORT: '80', INSTANCE_ID: 'two', LOG_LEVEL: 'debug' })), [])
  t.strictSame(
    differentSettings(settings(), settings({ TIME_ZONE: 'UTC', LANGUAGE: 'en', OKX_URL: 'https://a.test' })),
    ['TIME_ZONE', 'LANGUAGE', 'OKX_URL']
  )
})

t.test('replicas agree while a secret is rotated, as long as they share one key', async t => {
  const differ = (own: string | undefined, other: string | undefined) =>
    differentSettings(settings({ SESSION_SECRET: own }), settings({ SESSION_SECRET: other }))
  t.strictSame(differ(first, `${second},${first}`), [])
  t.strictSame(differ(`${second},${first}`, second), [])
  t.strictSame(differ(first, second), ['SESSION_SECRET'])
  t.strictSame(differ(`${first},${second}`, third), ['SESSION_SECRET'])
})

t.test('another bot or no bot is a difference, another token of the same bot is not', async t => {
  const bot = (token?: string) => settings(token === undefined ? {} : { TELEGRAM_BOT_TOKEN: token })
  t.strictSame(differentSettings(bot('1:a'), bot('1:b')), [])
  t.strictSame(differentSettings(bot('1:a'), bot('2:a')), ['TELEGRAM_BOT_TOKEN'])
  t.strictSame(differentSettings(bot('1:a'), bot()), ['TELEGRAM_BOT_TOKEN'])
})

t.test('the published values contain no secret', async t => {
  const key = Buffer.alloc(32, 7).toString('base64')
  const text = JSON.stringify(
    settings({ ENCRYPTION_KEY: key, TELEGRAM_BOT_TOKEN: '12345:hunter2', SESSION_SECRET: first })
  )
  t.strictSame(
    [key, 'hunter2', first ?? ''].filter(secret => text.includes(secret)),
    []
  )
  t.ok(text.includes('12345'), text)
})

t.test('a setting that another version does not publish is not compared', async t => {
  t.strictSame(differentSettings(settings(), { TIME_ZONE: 'Asia/Seoul' }), [])
  t.strictSame(differentSettings({ TIME_ZONE: 'UTC' }, settings()), ['TIME_ZONE'])
})
