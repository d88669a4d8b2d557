// The ports: address families, and what a start reports when a port is taken.
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import t from 'tap'
import { TEST_ENVIRONMENT } from '../support/app.ts'
import { projectRoot, serverScript } from '../support/project.ts'

const { HOST = '' } = parseEnv(readFileSync(join(projectRoot, 'deploy/kubernetes/settings.env'), 'utf8'))

/** Starts the service on its default ports in a network of its own, and reads liveness and metrics from every address. */
const SCRIPT = `
ip link set lo up && eval "$SET_UP" || exit 90
"$NODE" "$SERVER" >&2 &
"$NODE" --input-type=module -e '
  const statuses = []
  for (const path of process.argv.slice(1)) {
    while (performance.now() < 30_000) {
      const answer = await fetch("http://" + path).catch(() => undefined)
      if (answer === undefined) { await new Promise(resolve => setTimeout(resolve, 50)); continue }
      statuses.push(answer.status)
      break
    }
  }
  console.log(JSON.stringify(statuses))
  process.exit()
' $URLS
kill $!
wait
`
const unshared = spawnSync('unshare', ['--net', 'ip', 'link', 'set', 'lo', 'up'])
const skip = unshared.status !== 0 && 'a network namespace and ip(8) are not permitted or not here'

for (const { network, setUp, hosts } of [
  { network: 'IPv6 only', setUp: 'ip -4 address flush dev lo', hosts: ['[::1]'] },
  { network: 'both families', setUp: 'true', hosts: ['127.0.0.1', '[::1]'] },
  { network: 'IPv6 disabled on the interfaces', setUp: 'ip -6 address flush dev lo', hosts: ['127.0.0.1'] }
]) {
  t.test(`with HOST of the manifests every port answers in a network with ${network}`, { skip }, async t => {
    const urls = hosts.flatMap(host => [`${host}:5001/health/live`, `${host}:5002/health/live`, `${host}:9464/metrics`])
    const { PORT, PROBE_PORT, METRICS_PORT, ...secrets } = TEST_ENVIRONMENT
    const { status, stdout, stderr } = spawnSync('unshare', ['--net', 'sh', '-c', SCRIPT], {
      env: {
        ...secrets,
        ...{ PATH: process.env.PATH, SET_UP: setUp, URLS: urls.join(' ') },
        ...{ NODE: process.execPath, SERVER: serverScript },
        ...{ HOST, DRAIN_SECONDS: '0', DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none', LOG_LEVEL: 'fatal' }
      },
      encoding: 'utf8'
    })
    t.equal(status, 0, stderr)
    t.equal(stdout, `${JSON.stringify(urls.map(() => 200))}\n`, stderr)
  })
}
