// scripts/build.js, in a copy of the project: which files a build keeps, and which the next one removes.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { untilStatus } from '../support/app.ts'
import { createTestDatabase } from '../support/database.ts'
import { projectRoot } from '../support/project.ts'
import { startService } from '../support/service.ts'
import { Client } from '../support/session.ts'

const PARTS = [
  'src',
  'plugins',
  'routes',
  'scripts',
  'patches',
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'LICENSE'
]

function copyOfProject(t: Test) {
  const root = mkdtempSync(join(tmpdir(), 'trading-health-build-'))
  t.teardown(() => rmSync(root, { recursive: true, force: true }))
  for (const part of PARTS) cpSync(join(projectRoot, part), join(root, part), { recursive: true })
  const modules = join(root, 'node_modules')
  symlinkSync(join(projectRoot, 'node_modules'), modules)
  const dist = join(root, 'dist')
  return {
    root,
    dist,
    modules,
    async build(...words: string[]) {
      const child: ChildProcess = spawn(process.execPath, [join(root, 'scripts/build.js'), ...words], {
        stdio: ['ignore', 'ignore', 'pipe']
      })
      if (!child.stderr) throw new Error('the build has no output')
      const [stderr, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')])
      return { code, stderr }
    },
    setVersion(version: string) {
      const file = join(root, 'package.json')
      writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), version }))
    },
    id: (): string => JSON.parse(readFileSync(join(dist, 'build.json'), 'utf8')).id,
    folders: () =>
      readdirSync(join(dist, 'src'))
        .filter(name => !name.endsWith('.js'))
        .sort(),
    /** Every file with its inode and the time of its last change. */
    files: () =>
      readdirSync(dist, { recursive: true, encoding: 'utf8' }).map(name => {
        const { ino, mtimeMs, size } = statSync(join(dist, name))
        return [name, ino, mtimeMs, size]
      }),
    leftOver: () => readdirSync(root).filter(name => name.startsWith('.dist-'))
  }
}

const good = { code: 0, stderr: '' }

t.test('a running service finds its chunks and threads after a build; the build after that removes them', async t => {
  const project = copyOfProject(t)
  const { dist, build, setVersion, id, folders } = project
  mkdirSync(join(dist, 'src'), { recursive: true })
  writeFileSync(join(dist, 'src/chunk-OF-EARLIER-LAYOUT.js'), '')
  setVersion('1.0.1')
  t.strictSame(await build(), good)
  const first = id()
  t.ok(existsSync(join(dist, 'src/chunk-OF-EARLIER-LAYOUT.js')), 'files of a build without a record are kept once')

  const { url: DATABASE_URL } = await createTestDatabase(t)
  const script = join(dist, 'src/server.js')
  const start = () => startService(t, { DATABASE_URL, METRICS_PORT: '0' }, [script])
  const versionOf = async ({ logged }: Awaited<ReturnType<typeof start>>) => {
    const metrics = await (await fetch(String((await logged('listening')).metrics))).text()
    return /^trading_health_build_info\{.*\bversion="([^"]+)"/m.exec(metrics)?.[1]
  }
  const old = await start()
  await untilStatus(`${old.main}/health/startup`, 200)

  setVersion('1.0.2')
  t.strictSame(await Promise.all([build(), build()]), [good, good], 'two builds at the same time')
  const second = id()
  t.not(second, first)
  t.strictSame(folders(), [first, second].sort())
  t.notOk(existsSync(join(dist, 'src/chunk-OF-EARLIER-LAYOUT.js')))
  // Neither the metrics module nor the password thread was loaded before.
  t.equal(await versionOf(old), '1.0.1')
  t.equal((await new Client(old.main).signIn('nobody', 'a password')).status, 401)
  t.equal(await versionOf(await start()), '1.0.2')

  setVersion('1.0.3')
  t.strictSame(await build(), good)
  t.strictSame(folders(), [second, id()].sort())
  t.strictSame(project.leftOver(), [])
  t.strictSame(await old.end(), { code: 0, signal: null })
})

t.test('a build without a changed input, and a build that fails, write nothing', async t => {
  const { root, build, files, id, leftOver } = copyOfProject(t)
  t.strictSame(await build('--if-changed'), good, 'without dist/ the build runs')
  const before = files()
  const first = id()
  t.strictSame(await build('--if-changed'), good)
  t.strictSame(files(), before)

  const source = join(root, 'src/server.ts')
  const content = readFileSync(source, 'utf8')
  writeFileSync(source, `${content}\n)`)
  const failed = await build('--if-changed')
  t.equal(failed.code, 1)
  t.ok(failed.stderr.includes('src/server.ts'))
  t.strictSame(files(), before)
  t.strictSame(leftOver(), [])

  writeFileSync(source, content)
  t.strictSame(await build(), good)
  t.equal(id(), first, 'the same inputs make the same build')
  rmSync(join(root, 'dist/src', first, 'server.js'))
  t.strictSame(await build(), good)
  t.ok(existsSync(join(root, 'dist/src', first, 'server.js')), 'a build repairs a damaged dist/')
  for (const input of ['patches/postgres+3.4.9.patch', 'package-lock.json', 'scripts/bundle.js']) {
    const record = join(root, 'dist/build.json')
    const { mtimeMs } = statSync(record)
    writeFileSync(join(root, input), `${readFileSync(join(root, input), 'utf8')}\n`)
    t.strictSame(await build('--if-changed'), good, input)
    const builtMs = statSync(record).mtimeMs
    t.ok(builtMs > mtimeMs, `${input} is an input: built at ${builtMs}, before at ${mtimeMs}`)
  }
})

t.test('an install without development packages uses dist/ as it is', async t => {
  const { root, dist, modules, build, files } = copyOfProject(t)
  t.strictSame(await build(), good)
  rmSync(modules)
  mkdirSync(modules)
  symlinkSync(join(projectRoot, 'node_modules/diff'), join(modules, 'diff'))
  writeFileSync(join(root, 'src/server.ts'), '// changed')
  const before = files()
  t.strictSame(await build('--if-changed'), {
    code: 0,
    stderr: 'dist/ is used as it is: esbuild, which builds it, is not installed\n'
  })
  t.strictSame(files(), before)
  const refused = {
    code: 1,
    stderr: 'dist/ cannot be built: esbuild is not installed. Run `npm ci --include=dev`, or copy a built dist/ here\n'
  }
  t.strictSame(await build(), refused, 'a build without --if-changed fails')
  rmSync(dist, { recursive: true })
  t.strictSame(await build('--if-changed'), refused, 'without dist/ the build fails')
})
