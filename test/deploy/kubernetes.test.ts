import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
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

const folder = join(projectRoot, 'deploy/kubernetes')
const read = (name: string) => parse(readFileSync(join(folder, name), 'utf8'))
const kustomization = read('kustomization.yaml') as { resources: string[]; images: { name: string }[] }

/** The validators of Kubernetes' own schemas, by kind. */
const kinds: Record<string, new (data: never) => { validate(): void }> = {
  ConfigMap,
  Deployment,
  NetworkPolicy,
  PodDisruptionBudget,
  Service,
  ServiceAccount,
  ServiceMonitor
}

interface Manifest {
  apiVersion: string
  kind: string
  spec?: { template?: { spec?: { containers?: { image: string }[] } } }
}

function hold(t: Test, manifest: Manifest): void {
  const kind = kinds[manifest.kind]
  if (!kind) throw new Error(`${manifest.kind} has no schema here`)
  const model = new kind(manifest as never)
  t.doesNotThrow(() => model.validate(), manifest.kind)
  t.hasStrict(model, { apiVersion: manifest.apiVersion }, `${manifest.kind} is of ${manifest.apiVersion}`)
}

t.test('every file is a resource, and keeps its schema', async t => {
  t.strictSame(
    [...kustomization.resources, 'kustomization.yaml'].sort(),
    readdirSync(folder).sort(),
    'none is forgotten'
  )
  for (const name of kustomization.resources) hold(t, read(name) as Manifest)
})

t.test('kubectl kustomize builds it', { skip: missingTool('kubectl', 'kubernetes-client') }, async t => {
  const { status, stdout, stderr } = spawnSync('kubectl', ['kustomize', folder], { encoding: 'utf8' })
  t.equal(status, 0, stderr)
  const built = parseAllDocuments(stdout).map(document => document.toJS() as Manifest)
  t.equal(built.length, kustomization.resources.length)
  for (const manifest of built) {
    hold(t, manifest)
    t.hasStrict(manifest, { metadata: { namespace: 'trading' } }, manifest.kind)
  }
  const deployed = built.find(({ kind }) => kind === 'Deployment')
  const images = (deployed?.spec?.template?.spec?.containers ?? []).map(({ image }) => image)
  t.equal(images.length, 1)
  t.match(images[0], /^registry\.example\.com\/trading-health:\d/)
})

const deployment = read('deployment.yaml') as IDeployment
const pod = deployment.spec?.template.spec
const [container] = pod?.containers ?? []
const settings = read('config-map.yaml').data as Record<string, string>

t.test('the settings are ones that the service takes', async t => {
  const config = loadConfig(settings)
  const graceSeconds = pod?.terminationGracePeriodSeconds ?? 0
  const neededSeconds = config.DRAIN_SECONDS + config.SHUTDOWN_SECONDS
  t.ok(graceSeconds > neededSeconds, `it may drain: ${graceSeconds} s, more than ${neededSeconds} s`)
  t.equal(container?.lifecycle, undefined, 'without a hook before the signal')
  const known = Object.entries(configSchema.properties)
  const names = [...Object.keys(settings), ...(container?.env ?? []).map(({ name }) => name)]
  for (const name of names) {
    t.ok(
      known.some(([key, schema]) => name === key || ('secret' in schema && name === `${key}_FILE`)),
      name
    )
  }
})

t.test('every secret is a file of the mounted one, none is in the environment', async t => {
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

t.test('all three probes ask the probe port for a route of its own', async t => {
  const probesPort = container?.ports?.find(({ name }) => name === 'probes')
  t.equal(String(probesPort?.containerPort), configSchema.properties.PROBE_PORT.default)
  const { startupProbe, livenessProbe, readinessProbe } = container ?? {}
  for (const probe of [startupProbe, livenessProbe, readinessProbe]) {
    t.equal(probe?.httpGet?.port, 'probes')
    t.ok(isProbePath(probe?.httpGet?.path ?? ''), probe?.httpGet?.path ?? 'no path')
    t.equal(probe?.timeoutSeconds, 2, 'longer than the 1 s that an answer may take')
  }
  t.equal(livenessProbe?.httpGet?.path, '/health/live', 'the loss of the database restarts no replica')
})

t.test('it may do nothing that it need not', async t => {
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

t.test('what selects the replicas selects their labels, and names ports that they have', async t => {
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
  const monitor = read('service-monitor.yaml')
  t.strictSame(monitor.spec.selector.matchLabels, service.metadata.labels)
  const served = service.spec.ports.map(({ name }: { name: string }) => name)
  for (const { port } of monitor.spec.endpoints) t.ok(served.includes(port), port)
  const allowed = read('network-policy.yaml').spec.ingress.flatMap(({ ports }: { ports: { port: string }[] }) => ports)
  for (const { port } of allowed) t.ok(ports.includes(port), port)
})
