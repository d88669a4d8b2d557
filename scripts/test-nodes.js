// npm run test:nodes [-- 22 26]: the tests on each Node that is supported, oldest first, from the npm package `node`.
import { spawnSync } from 'node:child_process'

const SUPPORTED = ['20.19', '22', '24', '26']

const failed = (process.argv.length > 2 ? process.argv.slice(2) : SUPPORTED).filter(version => {
  const { status } = spawnSync(
    'npx',
    ['--yes', '--package', `node@${version}`, '--call', 'node --version && npm test'],
    {
      stdio: 'inherit'
    }
  )
  process.stdout.write(`node ${version}: ${status === 0 ? 'passed' : 'FAILED'}\n`)
  return status !== 0
})
process.exitCode = failed.length === 0 ? 0 : 1
