import { spawnSync } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { applyPatch, parsePatch, reversePatch } from 'diff'
import t, { type Test } from 'tap'
import { createTestDatabase } from '../support/database.ts'
import { projectRoot } from '../support/service.ts'

const PATCH = 'postgres+3.4.9.patch'
const SCENARIOS = fileURLToPath(new URL('../support/driver-scenarios.js', import.meta.url))
const installed = join(projectRoot, 'node_modules/postgres')
const runNode = (words: string[], timeout = 60_000) => spawnSync(process.execPath, words, { encoding: 'utf8', timeout })

/** A project with the script, the patch, and the published driver. */
async function projectBeforePatch(t: Test) {
  const root = await mkdtemp(join(tmpdir(), 'trading-health-patch-'))
  t.teardown(() => rm(root, { recursive: true, force: true }))
  const driver = join(root, 'node_modules/postgres')
  await mkdir(join(root, 'patches'))
  await cp(join(projectRoot, 'scripts'), join(root, 'scripts'), { recursive: true })
  await cp(join(projectRoot, 'patches', PATCH), join(root, 'patches', PATCH))
  await cp(installed, driver, { recursive: true })
  await symlink(join(projectRoot, 'node_modules/diff'), join(root, 'node_modules/diff'))
  for (const change of parsePatch(await readFile(join(projectRoot, 'patches', PATCH), 'utf8'))) {
    const file = join(driver, (change.oldFileName ?? '').replace(/^a\//, ''))
    const original = applyPatch(await readFile(file, 'utf8'), reversePatch(change))
    if (original === false) throw new Error(`the installed driver is not patched: ${file}`)
    await writeFile(file, original)
  }
  return { root, driver, patch: () => runNode([join(root, 'scripts/patch-dependencies.js')]) }
}

t.test('the patch is applied once, to the text that the bundle and the tests load', async t => {
  const { driver, patch } = await projectBeforePatch(t)
  for (const time of ['first', 'second']) {
    const { status, stderr } = patch()
    t.strictSame({ status, stderr }, { status: 0, stderr: '' }, `${time} time`)
    for (const file of await readdir(join(driver, 'src'))) {
      const patched = await readFile(join(driver, 'src', file), 'utf8')
      t.equal(patched, await readFile(join(installed, 'src', file), 'utf8'), `${file} is as installed here`)
    }
  }
})

t.test('an install that cannot apply the patch fails with one line', async t => {
  const faults: [string, (driver: string) => Promise<void>, string][] = [
    [
      'another version',
      async driver => {
        const file = join(driver, 'package.json')
        await writeFile(file, (await readFile(file, 'utf8')).replace('"3.4.9"', '"3.4.10"'))
      },
      `patches/${PATCH} is for 3.4.9, but 3.4.10 is installed`
    ],
    [
      'another text',
      async driver => {
        const file = join(driver, 'src/index.js')
        await writeFile(file, (await readFile(file, 'utf8')).replace('let savepoints = 0', 'let points = 0'))
      },
      `patches/${PATCH} does not fit a/src/index.js`
    ],
    ['no package', driver => rm(driver, { recursive: true }), `patches/${PATCH}: the package is not installed`]
  ]
  for (const [name, change, reason] of faults) {
    const { driver, patch } = await projectBeforePatch(t)
    await change(driver)
    const { status, stderr } = patch()
    t.strictSame({ status, stderr }, { status: 1, stderr: `dependencies not patched: ${reason}\n` }, name)
  }
})

t.test('a start without the patch fails with the command to run', async t => {
  const { root, patch } = await projectBeforePatch(t)
  await cp(join(projectRoot, 'build/src/database'), join(root, 'database'), { recursive: true })
  await writeFile(join(root, 'package.json'), '{"type":"module"}')
  const start = () => runNode(['--input-type=module', '-e', `await import('${join(root, 'database/client.js')}')`])
  const { status, stderr } = start()
  t.equal(status, 1)
  t.ok(
    stderr.includes('Error: the installed package postgres is not patched: run `node scripts/patch-dependencies.js`')
  )
  patch()
  t.equal(start().status, 0, 'the start succeeds with the patch')
})

/** The output of each scenario with the patch. */
const right: Record<string, unknown> = {
  lost_in_transaction: [Array.from({ length: 5 }, () => 'CONNECTION_CLOSED'), { one: 1 }],
  continued_after_loss: ['CONNECTION_CLOSED', 'CONNECTION_CLOSED', { rows: 0 }],
  failed_amid_rows: ['22012', [{ x: 7 }]],
  cannot_be_built: ['first', 'UNDEFINED_VALUE', 'third'],
  continued_after_rollback: ['22012', 'TRANSACTION_ENDED', { rows: 0 }],
  lost_amid_rows: ['string', [{ x: 7 }]]
}

for (const [scenario, expected] of Object.entries(right)) {
  t.test(`${scenario}: the published driver fails, the patched one does not`, async t => {
    const { driver } = await projectBeforePatch(t)
    const run = async (folder: string, timeoutMs?: number) => {
      const { url } = await createTestDatabase(t)
      const { status, stdout, stderr } = runNode([SCENARIOS, folder, scenario, url], timeoutMs)
      return { status, result: stdout === '' ? undefined : JSON.parse(stdout), stderr }
    }
    const beganMs = performance.now()
    const patched = await run(installed)
    t.strictSame(patched.result, expected, patched.stderr)
    // The published driver may also wait for ever. Its limit is several times the duration of the patched one.
    const published = await run(driver, Math.ceil(5 * (performance.now() - beganMs)))
    t.strictNotSame({ status: published.status, result: published.result }, { status: 0, result: expected })
    t.comment(published.status === 0 ? JSON.stringify(published.result) : (published.stderr.split('\n')[4] ?? 'hangs'))
  })
}
