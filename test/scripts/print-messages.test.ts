import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { alertSamples } from '../../demo/print-messages.ts'
import { alertRules } from '../../src/alerts/alerts.ts'
import { readHtml } from '../support/bot-api-server.ts'
import { compiledTests } from '../support/project.ts'

t.test('the summaries and three messages of each kind of alert are printed in both languages', async t => {
  const { stdout } = await promisify(execFile)(process.execPath, [join(compiledTests, '../demo/print-messages.js')])
  const messages = stdout.split(/^=== /m).slice(1)
  const titles = messages.map(text => text.slice(0, text.indexOf('\n')))
  const expected = [
    ...['one account', 'twelve accounts', 'restated days', 'unknown values'].map(what => `daily summary, ${what}`),
    ...Object.keys(alertRules).flatMap(kind => ['alert', 'reminder', 'recovery'].map(type => `${kind}, ${type}`)),
    ...['unclean shutdown', 'quiet window']
  ]
  t.strictSame(titles, [...expected.map(title => `${title} (ko)`), ...expected.map(title => `${title} (en)`)])
  for (const [i, text] of messages.entries()) {
    const html = text.slice(text.indexOf('\n') + 1)
    t.notOk('error' in readHtml(html), `${titles[i]} is accepted`)
    if (titles[i]?.endsWith('(en)'))
      t.notMatch(html.replaceAll(/장기 투자|단타/g, ''), /[가-힣]/, `${titles[i]} is English`)
  }
})

t.test('no two titles of alerts of one language are the same', async t => {
  for (const language of ['ko', 'en'] as const) {
    const firstLines = Object.values(alertSamples(language)).map(text => text.split('\n', 1)[0])
    t.equal(new Set(firstLines).size, firstLines.length, language)
  }
})
