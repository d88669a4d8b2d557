import { spawnSync } from 'node:child_process'
import t from 'tap'
import { projectRoot } from './support/service.ts'

/** The specification's quick searches, with the language of this service. */
function search(command: string): string[] {
  const { stdout } = spawnSync('sh', ['-c', command], { cwd: projectRoot, encoding: 'utf8' })
  return [...new Set(stdout.split('\n').map(line => line.split(':')[0] ?? ''))].filter(Boolean).sort()
}

const all = 'grep -r "@FEAT:health-monitoring" --include="*.ts" --exclude-dir=node_modules --exclude-dir=test .'

t.test('the quick searches of the specification find the files that serve the feature', async t => {
  const found = search(all).length
  t.ok(found >= 8, `all health-monitoring code: ${found} files`)
  const routes = search(`${all} | grep "@COMP:route"`)
  for (const file of ['./routes/health.ts', './routes/system/health.ts']) t.ok(routes.includes(file), file)
  t.ok(search(`${all} | grep "scheduler"`).includes('./routes/system/scheduler.ts'))
})

t.test('every tag line has feature, component and type', async t => {
  const where = '--include="*.ts" src plugins routes'
  const tagged = search(`grep -rE "@FEAT:" ${where}`)
  const whole = search(`grep -rE "^// @FEAT:[a-z-]+ @COMP:[a-z]+ @TYPE:(core|integration|helper)$" ${where}`)
  t.strictSame(tagged, whole)
})
