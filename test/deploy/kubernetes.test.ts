import { spawnSync } from 'node:child_process'
import { appendFileSync, cpSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { PrometheusRule } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule'
import { ServiceMonitor } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor'
import { Deployment, type IDeployment } from 'kubernetes-models/apps/v1/Deployment'
import { NetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1/NetworkPolicy'
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1/PodDisruptionBudget'
import { ConfigMap } from 'kubernetes-models/v1/ConfigMap'
import { Service } from 'kubernetes-models/v1/Service'
import { ServiceAccount } from 'kubernetes-models/v1/ServiceAccount'
import t, { type Test } from 'tap'
import { parse, parseAllDocuments } from 'yaml'
import { configSchema, loadConfig } from '../../src/config.ts'
import { isProbePath } from '../../src/health/probes.ts'
import { projectRoot } from '../support/service.ts'
import { missingTool } from '../support/tools.ts'

const deploy = join(projectRoot, 'deploy')
const read = (name: string, folder = 'kubernetes') => parse(readFileSync(join(deploy, folder, name), 'utf8'))
const skip = missingTool('kubectl', 'kubernetes-client')

/** The validators of the Kubernetes schemas, by kind. */
const kinds: Record<string, new (data: never) => { validate(): void }> = {
  ConfigMap,
  Deployment,
  NetworkPolicy,
  PodDisruptionBudget,
  PrometheusRule,
  Service,
  ServiceAccount,
  ServiceMonitor
}

interface Manifest {
  apiVersion: string
  kind: string
  metadata?: { name?: string }
  spec?: { template?: { spec?: { containers?: { image: string; envFrom?: unknown }[] } } }
}

function assertValid(t: Test, manifest: Manifest): void {
  const kind = kinds[manifest.kind]
  if (!kind) throw new Error(`${manifest.kind} has no schema here`)
  const model = new kind(manifest as never)
  t.doesNotThrow(() => model.validate(), manifest.kind)
  t.hasStrict(model, { apiVersion: manifest.apiVersion }, `${manifest.kind} is of ${manifest.apiVersion}`)
}

/** The output of `kubectl kustomize` for a folder. */
function build(t: Test, folder: string): Manifest[] {
  const { status, stdout, stderr } = spawnSync('kubectl', ['kustomize', folder], { encoding: 'utf8' })
  t.equal(status, 0, stderr)
  return parseAllDocuments(stdout).map(document => document.toJS() as Manifest)
}

for (const folder of ['kubernetes', 'prometheus-operator']) {
  t.test(`every file of ${folder} is used, and is valid by its schema`, async t => {
    const { resources, configMapGenerator = [] } = read('kustomization.yaml', folder) as {
      resources: string[]
      configMapGenerator?: { envs: string[] }[]
    }
    const own = resources.filter(name => !name.startsWith('../'))
    const settings = configMapGenerator.flatMap(({ envs }) => envs)
    t.strictSame([...own, ...settings, 'kustomization.yaml'].sort(), readdirSync(join(deploy, folder)).sort())
    for (const name of own) assertValid(t, read(name, folder) as Manifest)
  })
}

t.test('kubectl kustomize builds the folder and an overlay', { skip }, async t => {
  const built = build(t, join(deploy, 'kubernetes'))
  const withOperator = build(t, join(deploy, 'prometheus-operator'))
  const kinds = ['ConfigMap', 'Deployment', 'NetworkPolicy', 'PodDisruptionBudget', 'Service', 'ServiceAccount']
  t.strictSame(built.map(({ kind }) => kind).sort(), kinds)
  t.strictSame(
    withOperator.map(({ kind }) => kind).sort(),
    [...kinds, 'PrometheusRule', 'ServiceMonitor'].sort(),
    'the overlay adds the values of the operator'
  )
  for (const manifest of withOperator) {
    assertValid(t, manifest)
    t.hasStrict(manifest, { metadata: { namespace: 'trading' } }, manifest.kind)
  }
  const deployed = built.find(({ kind }) => kind === 'Deployment')
  const images = (deployed?.spec?.template?.spec?.containers ?? []).map(({ image }) => image)
  t.equal(images.length, 1)
  t.match(images[0], /^registry\.example\.com\/trading-health:\d/)
})

t.test('a changed setting changes the pod template', { skip }, async t => {
  const copy = t.testdir()
  cpSync(join(deploy, 'kubernetes'), copy, { recursive: true })
  const templateOf = (manifests: Manifest[]) => manifests.find(({ kind }) => kind === 'Deployment')?.spec?.template
  const before = build(t, copy)
  appendFileSync(join(copy, 'settings.env'), 'LANGUAGE=en\n')
  const after = build(t, copy)
  for (const manifests of [before, after]) {
    const name = manifests.find(({ kind }) => kind === 'ConfigMap')?.metadata?.name
    t.strictSame(templateOf(manifests)?.spec?.containers?.[0]?.envFrom, [{ configMapRef: { name } }])
  }
  t.strictNotSame(templateOf(after), templateOf(before))
})

t.test('the PrometheusRule has the rules of deploy/prometheus', async t => {
  const groups = ['recording.yaml', 'alerts.yaml'].flatMap(name => read(name, 'prometheus').groups)
  t.equal(groups.length, 6)
  const written = read('prometheus-rule.yaml', 'prometheus-operator').spec.groups
  t.strictSame(written, groups, 'if not: node scripts/prometheus-rule.js')
})

t.test('the network policy allows DNS, databases and exchanges, over IPv4 and IPv6', async t => {
  const [dns, database, web] = read('network-policy.yaml').spec.egress
  const ports = ({ ports }: { ports: { protocol: string; port: number }[] }) =>
    ports.map(({ protocol, port }) => `${protocol} ${port}`)
  t.strictSame([dns, database, web].map(ports), [['UDP 53', 'TCP 53'], ['TCP 5432', 'TCP 6432'], ['TCP 443']])
  t.strictSame(dns.to, [
    {
      namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'kube-system' } },
      podSelector: {
        matchExpressions: [{ key: 'k8s-app', operator: 'In', values: ['kube-dns', 'node-local-dns'] }]
      }
    },
    { ipBlock: { cidr: '169.254.20.10/32' } }
  ])
  t.equal(database.to, undefined)
  t.strictSame(
    web.to.map(({ ipBlock }: { ipBlock: { cidr: string } }) => ipBlock.cidr),
    ['0.0.0.0/0', '::/0']
  )
})

const deployment = read('deployment.yaml') as IDeployment
const pod = deployment.spec?.template.spec
const [container] = pod?.containers ?? []
const settings = parseEnv(readFileSync(join(deploy, 'kubernetes/settings.env'), 'utf8')) as Record<string, string>

t.test('the settings of the deployment are valid', async t => {
  const config = loadConfig(settings)
  const graceSeconds = pod?.terminationGracePeriodSeconds ?? 0
  const neededSeconds = config.DRAIN_SECONDS + config.SHUTDOWN_SECONDS
  t.ok(graceSeconds > neededSeconds, `time to drain: ${graceSeconds} s, more than ${neededSeconds} s`)
  t.equal(container?.lifecycle, undefined, 'there is no preStop hook')
  const known = Object.entries(configSchema.properties)
  const names = [...Object.keys(settings), ...(container?.env ?? []).map(({ name }) => name)]
  for (const name of names) {
    t.ok(
      known.some(([key, schema]) => name === key || ('secret' in schema && name === `${key}_FILE`)),
      name
    )
  }
})

t.test('every secret is a mounted file, none is in the environment', async t => {
  const [mount] = container?.volumeMounts ?? []
  const files = (container?.env ?? []).filter(({ name }) => name.endsWith('_FILE'))
  t.strictSame(
    files.map(({ name }) => name),
    ['DATABASE_URL_FILE', 'SESSION_SECRET_FILE', 'ENCRYPTION_KEY_FILE']
  )
  for (const { name, value } of files) t.ok(value?.startsWith(`${mount?.mountPath}/`), name)
  const volumes = (pod?.volumes ?? []).map(({ name, secret }) => [name, secret?.secretName])
  t.strictSame(volumes, [[mount?.name, 'trading-health']])
  t.notMatch(JSON.stringify(deployment), 'secretKeyRef')
})

t.test('all three probes use a route of the probe port', async t => {
  const probesPort = container?.ports?.find(({ name }) => name === 'probes')
  t.equal(String(probesPort?.containerPort), configSchema.properties.PROBE_PORT.default)
  const { startupProbe, livenessProbe, readinessProbe } = container ?? {}
  for (const probe of [startupProbe, livenessProbe, readinessProbe]) {
    t.equal(probe?.httpGet?.port, 'probes')
    t.ok(isProbePath(probe?.httpGet?.path ?? ''), probe?.httpGet?.path ?? 'no path')
    t.equal(probe?.timeoutSeconds, 2, 'longer than the 1 s that an answer may take')
  }
  // The other two restart a replica, which the loss of the database must not do, also during a start.
  t.strictSame(
    [startupProbe, livenessProbe, readinessProbe].map(probe => probe?.httpGet?.path),
    ['/health/live', '/health/live', '/health/ready']
  )
})

t.test('the pod has no privileges that it does not need', async t => {
  t.hasStrict(pod, {
    automountServiceAccountToken: false,
    securityContext: { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: 'RuntimeDefault' } }
  })
  t.strictSame(container?.securityContext, {
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'] }
  })
})

t.test('every selector has the labels of the replicas, and every named port exists', async t => {
  const labels = deployment.spec?.template.metadata?.labels
  const ports = (container?.ports ?? []).map(({ name }) => name)
  t.strictSame(deployment.spec?.selector.matchLabels, labels)
  for (const { labelSelector } of pod?.topologySpreadConstraints ?? []) {
    t.strictSame(labelSelector?.matchLabels, labels)
  }
  t.strictSame(read('pod-disruption-budget.yaml').spec.selector.matchLabels, labels)
  t.strictSame(read('network-policy.yaml').spec.podSelector.matchLabels, labels)
  const service = read('service.yaml')
  t.strictSame(service.spec.selector, labels)
  for (const { targetPort } of service.spec.ports) t.ok(ports.includes(targetPort), targetPort)
  const monitor = read('service-monitor.yaml', 'prometheus-operator')
  t.strictSame(monitor.spec.selector.matchLabels, service.metadata.labels)
  const served = service.spec.ports.map(({ name }: { name: string }) => name)
  for (const { port } of monitor.spec.endpoints) t.ok(served.includes(port), port)
  const allowed = read('network-policy.yaml').spec.ingress.flatMap(({ ports }: { ports: { port: string }[] }) => ports)
  for (const { port } of allowed) t.ok(ports.includes(port), port)
})
