import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { definitions } from '../../src/metrics/definitions.ts'
import { expose } from '../../src/metrics/exposition.ts'
import { projectRoot } from '../support/service.ts'
import { missingTool } from '../support/tools.ts'

interface Rule {
  alert?: string
  record?: string
  expr: string
  labels?: Record<string, string>
  annotations?: Record<string, string>
}

const folder = join(projectRoot, 'deploy/prometheus')
const read = (file: string) => readFileSync(join(folder, file), 'utf8')
const rulesOf = (file: string) =>
  (parse(read(file)) as { groups: { rules: Rule[] }[] }).groups.flatMap(({ rules }) => rules)

const recording = rulesOf('recording.yaml')
const alerts = rulesOf('alerts.yaml')
const skip = missingTool('promtool', 'prometheus')

t.test('every metric that a rule names is exported', async t => {
  const exported = new Set(
    [...(await expose(new Map())).matchAll(/^# TYPE (\S+) (\w+)$/gm)].flatMap(([, name = '', kind]) =>
      kind === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name]
    )
  )
  const recorded = new Set(recording.map(({ record }) => record))
  for (const { alert, record, expr } of [...recording, ...alerts]) {
    for (const [name] of expr.matchAll(/\b(?:trading_health|process|nodejs)[a-z0-9_:]+/g)) {
      t.ok(exported.has(name) || recorded.has(name), `${alert ?? record}: ${name}`)
    }
  }
})

t.test('every label in a selector of a rule is a label of its metric', async t => {
  for (const { alert, record, expr } of [...recording, ...alerts]) {
    for (const [, name = '', matchers = ''] of expr.matchAll(/\b(trading_health_[a-z0-9_]+)\{([^}]*)\}/g)) {
      const metric = Object.entries(definitions).find(([known]) => name.replace(/_(bucket|sum|count)$/, '') === known)
      const labels: readonly string[] = metric?.[1].labels ?? []
      for (const [, label = ''] of matchers.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)) {
        t.ok(labels.includes(label), `${alert ?? record}: ${name} has ${label}`)
      }
    }
  }
})

t.test('every alert has a severity, a summary, a description and a test case', async t => {
  const cases = read('rules.test.yaml')
  t.ok(alerts.length > 20, `${alerts.length} alerts`)
  t.equal(new Set(alerts.map(({ alert }) => alert)).size, alerts.length, 'every name is unique')
  for (const { alert = '', labels, annotations } of alerts) {
    t.match(String(labels?.severity), /^(page|ticket)$/, alert)
    t.ok(annotations?.summary && annotations.description, alert)
    t.ok(cases.includes(`ALERTS{alertname="${alert}",`), `${alert} has a case`)
  }
})

for (const command of [
  'check config prometheus.yaml',
  'check rules recording.yaml alerts.yaml',
  'test rules rules.test.yaml'
]) {
  t.test(`promtool ${command}`, { skip }, async t => {
    const { status, stdout, stderr } = spawnSync('promtool', command.split(' '), { cwd: folder, encoding: 'utf8' })
    t.equal(status, 0, stdout + stderr)
  })
}
