// npm run test:nodes [-- 22 26]: runs the tests on each supported Node, oldest first, from the npm package `node`.
import { spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const SUPPORTED = ['20.19', '22', '24', '26']

// Not in root's home directory, because some tests run this Node as another user.
const env = { ...process.env, npm_config_cache: join(tmpdir(), 'test-nodes') }

const failed = (process.argv.length > 2 ? process.argv.slice(2) : SUPPORTED).filter(version => {
  const words = ['--yes', '--package', `node@${version}`, '--call', 'node --version && npm test']
  const { status } = spawnSync('npx', words, { stdio: 'inherit', env })
  process.stdout.write(`node ${version}: ${status === 0 ? 'passed' : 'FAILED'}\n`)
  return status !== 0
})
process.exitCode = failed.length === 0 ? 0 : 1
