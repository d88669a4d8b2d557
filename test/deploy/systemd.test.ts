import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { configSchema, loadConfig } from '../../src/config.ts'
import { projectRoot } from '../support/project.ts'
import { missingTool } from '../support/tools.ts'

const unit = readFileSync(join(projectRoot, 'deploy/systemd/trading-health.service'), 'utf8')
const valuesOf = (key: string) => [...unit.matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))].map(([, value = '']) => value)
const skip = missingTool('systemd-analyze', 'systemd')

function analyze(t: Test, text: string, ...args: string[]) {
  const file = join(t.testdir(), 'trading-health.service')
  // The path of this machine's Node, because the analysis requires that the program exists.
  writeFileSync(file, text.replace('/usr/bin/node', process.execPath))
  const { status, stdout, stderr } = spawnSync('systemd-analyze', [...args, file], { encoding: 'utf8' })
  return { status, stdout, stderr: stderr.replaceAll(file, 'FILE') }
}

t.test('systemd-analyze verify accepts the unit', { skip }, async t => {
  t.hasStrict(analyze(t, unit, 'verify'), { status: 0, stderr: '' })
  const misspelt = unit.replace('LimitNOFILE', 'LimitNOFILES')
  const found = "Unknown key 'LimitNOFILES' in section [Service]"
  t.equal(analyze(t, misspelt, 'verify').stderr.includes(found), true, 'it rejects a misspelt key')
})

t.test('the exposure of the unit is at most 1.5 of 10', { skip }, async t => {
  // --threshold is in tenths: the exit code is 1 above it.
  const { status, stdout, stderr } = analyze(t, unit, 'security', '--offline=true', '--threshold=15')
  t.equal(status, 0, stdout.trim().split('\n').at(-1) + stderr)
})

t.test('the variables of the unit are settings of the service, and each secret is a credential', async t => {
  const variables = valuesOf('Environment').map(value => value.split('=') as [string, string])
  const credentials = valuesOf('LoadCredential').map(value => value.split(':')[0])
  const files = variables.filter(([name]) => name.endsWith('_FILE'))
  t.strictSame(
    files.map(([, path]) => path),
    credentials.map(name => `%d/${name}`)
  )
  const names = variables.map(([name]) => name.replace(/_FILE$/, '')).filter(name => name !== 'NODE_ENV')
  t.strictSame(
    names.filter(name => !(name in configSchema.properties)),
    []
  )
})

t.test('the unit has enough time to drain, and is not restarted after an invalid setting', async t => {
  const { DRAIN_SECONDS, SHUTDOWN_SECONDS } = loadConfig({})
  const [stopSeconds] = valuesOf('TimeoutStopSec').map(Number)
  const neededSeconds = DRAIN_SECONDS + SHUTDOWN_SECONDS
  t.ok(Number(stopSeconds) > neededSeconds, `${stopSeconds} s, more than ${neededSeconds} s`)
  t.strictSame(['Restart', 'RestartPreventExitStatus', 'KillMode', 'LimitNOFILE'].map(valuesOf), [
    ['always'],
    ['2'],
    ['mixed'],
    ['65536']
  ])
})
