// npm run test:orders [-- --seed=7 --alone]: the unit tests in a random order, because tap sorts its files. Two files
// run at a time, or one, each with a Postgres of its own run. Prints the failed files and the five slowest ones.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

const { values } = parseArgs({ options: { seed: { type: 'string' }, alone: { type: 'boolean', default: false } } })
const seed = Number(values.seed ?? Date.now() % 2 ** 31)
const logs = mkdtempSync(join(tmpdir(), 'test-orders-'))
// The files share what is prepared once per run, as under tap. With --alone, each file prepares it again.
const env = { ...process.env, TAP_TIMEOUT: '300', ...(!values.alone && { TAP: '1' }) }

/** A repeatable sequence of numbers from 0 to 1, by the generator of Park and Miller. */
function randomFrom(start) {
  let state = (start % 2_147_483_646) + 1
  return () => {
    state = (state * 48_271) % 2_147_483_647
    return state / 2_147_483_647
  }
}

const random = randomFrom(seed)
const queue = readdirSync('build/test', { recursive: true })
  .filter(name => name.endsWith('.test.js') && !name.startsWith('system/'))
  .map(name => ({ name: `build/test/${name}`, place: random() }))
  .sort((a, b) => a.place - b.place)
  .map(({ name }) => name)

const results = []
async function work() {
  for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
    const beganMs = performance.now()
    const child = spawn(process.execPath, [file], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    const output = []
    child.stdout.on('data', chunk => output.push(chunk))
    child.stderr.on('data', chunk => output.push(chunk))
    const [code] = await once(child, 'close')
    results.push({ file, seconds: (performance.now() - beganMs) / 1000, passed: code === 0 })
    if (code === 0) continue
    const log = join(logs, file.replaceAll('/', '.'))
    writeFileSync(log, Buffer.concat(output))
    process.stdout.write(`FAILED ${file}: see ${log}\n`)
  }
}

process.stdout.write(`${queue.length} files, seed ${seed}\n`)
await Promise.all(values.alone ? [work()] : [work(), work()])
results.sort((a, b) => b.seconds - a.seconds)
for (const { file, seconds } of results.slice(0, 5)) process.stdout.write(`${seconds.toFixed(1)} s ${file}\n`)
const failed = results.filter(({ passed }) => !passed).length
process.stdout.write(`${results.length - failed} of ${results.length} files passed\n`)
process.exitCode = failed === 0 ? 0 : 1
