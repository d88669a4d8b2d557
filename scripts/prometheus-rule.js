// Writes deploy/prometheus-operator/prometheus-rule.yaml from the rules of deploy/prometheus: node scripts/prometheus-rule.js
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const deploy = join(import.meta.dirname, '../deploy')
const HEAD = `# Written by scripts/prometheus-rule.js from the rules of deploy/prometheus: change those.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: trading-health
  labels: { app.kubernetes.io/name: trading-health }
spec:
  groups:
`

/** The lines below `groups:`, indented by two more. */
function groupsOf(file) {
  const [, groups] = readFileSync(join(deploy, 'prometheus', file), 'utf8').split(/^groups:\n/m)
  return groups.replace(/^(?=.)/gm, '  ')
}

writeFileSync(
  join(deploy, 'prometheus-operator/prometheus-rule.yaml'),
  HEAD + ['recording.yaml', 'alerts.yaml'].map(groupsOf).join('\n')
)
