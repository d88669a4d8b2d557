// dist/ in a separate folder, without node_modules.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createRequire, SourceMap } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { TEST_ENVIRONMENT, untilStatus } from '../support/app.ts'
import { createTestDatabase } from '../support/database.ts'
import { spawnNode } from '../support/node-process.ts'
import { projectRoot } from '../support/project.ts'
import { startService } from '../support/service.ts'
import { Client } from '../support/session.ts'

/** These start a process or a thread. Other tests run them. */
const ENTRIES = ['auth/password-thread.js', 'cli.js', 'health-check.js', 'health/probe-thread.js', 'server.js']
/** Direct dependencies without code in the bundle: types, and the package that applies the patches. */
const NOT_BUNDLED = ['@fastify/type-provider-typebox', 'diff']
const PASSWORD = 'password of ops'

const json = (...path: string[]) => JSON.parse(readFileSync(join(...path), 'utf8'))

const folder = mkdtempSync(join(tmpdir(), 'trading-health-dist-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))
const dist = join(folder, 'dist')
cpSync(join(projectRoot, 'dist'), dist, { recursive: true })
const { id, exports }: { id: string; exports: Record<string, string[]> } = json(dist, 'build.json')
const bundle = join(dist, 'src', id)

t.test('the copy cannot resolve any package', async t => {
  t.throws(() => createRequire(join(bundle, 'server.js')).resolve('fastify'), { code: 'MODULE_NOT_FOUND' })
})

t.test('without node_modules the service serves probes, sign-in, the API, /docs and /metrics', async t => {
  const { url: DATABASE_URL } = await createTestDatabase(t)
  const service = await startService(t, { DATABASE_URL, METRICS_PORT: '0' }, [join(dist, 'src/server.js')])
  for (const base of [service.main, service.probes]) {
    for (const path of ['live', 'ready', 'startup']) await untilStatus(`${base}/health/${path}`, 200)
  }
  const command = spawnNode(join(dist, 'src/cli.js'), ['user:create', 'ops', '--admin'], {
    env: { ...TEST_ENVIRONMENT, DATABASE_URL },
    stdio: ['pipe', 'ignore', 'inherit']
  })
  command.stdin?.end(`${PASSWORD}\n`)
  t.strictSame(await once(command, 'exit'), [0, null])
  const client = new Client(service.main)
  t.equal((await client.signIn('ops', PASSWORD)).status, 200)
  const change = { current_password: PASSWORD, new_password: 'iloveyou123' }
  t.hasStrict(await client.send('POST', '/api/auth/password', change), {
    status: 400,
    answer: { code: 'PASSWORD_TOO_COMMON' }
  })
  const run = await client.send('POST', '/api/system/trigger-job', { job_type: 'calculate_performance' })
  t.strictSame([run.status, run.answer.outcome], [200, 'succeeded'])

  const { version } = json(projectRoot, 'package.json')
  const get = (path: string) => fetch(service.main + path, { headers: { cookie: String(client.cookie) } })
  const { info } = (await (await get('/docs/json')).json()) as { info: { version: string } }
  t.equal(info.version, version)
  const page = await (await get('/docs')).text()
  const parts = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path = '']) => path)
  t.equal(parts.length, 7, 'styles, icons and scripts')
  for (const path of parts) t.equal((await get(path)).status, 200, path)

  const metrics = await (await fetch(String((await service.logged('listening')).metrics))).text()
  t.equal(/^trading_health_build_info\{.*\bversion="([^"]+)"/m.exec(metrics)?.[1], version)
  t.strictSame(await service.end(), { code: 0, signal: null })
})

t.test('each chunk, imported alone, exports what it has in the metafile of esbuild', async t => {
  const chunks = Object.keys(exports).filter(file => !ENTRIES.includes(file))
  t.strictSame(
    ENTRIES.filter(file => file in exports),
    ENTRIES
  )
  t.ok(chunks.length > 20, `chunks: ${chunks.length}`)
  const files = readdirSync(bundle, { recursive: true, encoding: 'utf8' })
  t.strictSame(
    files.filter(file => file.endsWith('.js') && !file.startsWith('swagger-ui/')).sort(),
    Object.keys(exports).sort(),
    'there is no other file'
  )
  for (const file of chunks) {
    const script = `console.log(JSON.stringify(Object.keys(await import(${JSON.stringify(pathToFileURL(join(bundle, file)))}))))`
    const child = spawn(process.execPath, ['--input-type=module', '--eval', script], { env: {}, cwd: folder })
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)])
    t.strictSame({ stdout, stderr }, { stdout: `${JSON.stringify(exports[file])}\n`, stderr: '' }, file)
  }
})

t.test('the source maps belong to the bundles', async t => {
  const code = readFileSync(join(bundle, 'server.js'), 'utf8')
  const where = code.slice(0, code.indexOf('"signal received"')).split('\n')
  const map = new SourceMap(json(bundle, 'server.js.map'))
  const entry = map.findEntry(where.length - 1, where.at(-1)?.length ?? Number.NaN)
  if (!('originalSource' in entry)) throw new Error('the position is not in the map')
  // From the folder of the build in the project, not from the copy.
  const source = join(projectRoot, 'dist/src', id, entry.originalSource)
  t.equal(source, join(projectRoot, 'src/server.ts'))
  t.ok(readFileSync(source, 'utf8').split('\n')[entry.originalLine]?.includes("'signal received'"))
  for (const file of Object.keys(exports)) {
    const { sources }: { sources: string[] } = json(bundle, `${file}.map`)
    t.strictSame(
      // Packages have their own maps, to sources that they do not publish.
      sources.filter(
        source =>
          !source.includes('node_modules') && !existsSync(join(projectRoot, 'dist/src', id, dirname(file), source))
      ),
      [],
      file
    )
  }
})

t.test('licences and bill of materials list every bundled package', async t => {
  const { components, metadata } = json(dist, 'sbom.cdx.json')
  t.equal(metadata.component.name, 'trading-health')
  const listed: string[] = components.map(({ name, version }: Record<string, string>) => `${name} ${version}`)
  const texts = readFileSync(join(dist, 'licenses.txt'), 'utf8').split(`\n\n${'-'.repeat(80)}\n\n`)
  t.strictSame(
    texts.map(text => text.split('\n')[0]),
    ['trading-health', ...listed]
  )
  for (const text of texts.slice(1)) t.match(text.split('\n')[1], /^Licence: [\w.() -]+$/)
  const sources = Object.keys(exports).flatMap(file => json(bundle, `${file}.map`).sources as string[])
  const names = new Set(sources.flatMap(source => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(source)?.[1] ?? []))
  const { dependencies } = json(projectRoot, 'package.json')
  const listedNames = new Set(listed.map(one => one.split(' ')[0] ?? ''))
  t.strictSame(
    [...names].filter(name => !listedNames.has(name)),
    []
  )
  t.strictSame(
    Object.keys(dependencies).filter(name => !listedNames.has(name)),
    NOT_BUNDLED
  )
  const { packages } = json(projectRoot, 'package-lock.json')
  t.ok(listed.includes(`postgres ${packages['node_modules/postgres'].version}`))
})
