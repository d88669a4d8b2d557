import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { spawnNode } from './node-process.ts'

const PROCESS = fileURLToPath(new URL('./control-server-process.js', import.meta.url))

/**
 * Starts a bare HTTP server in a process of its own; it is ended at teardown. It answers every request at once, so the
 * time of its answers is caused by the machine and the test, not by the service that is probed at the same time.
 * @returns its base address
 */
export async function startControlServer(t: Pick<Test, 'teardown'>): Promise<string> {
  const child = spawnNode(PROCESS, [], { stdio: ['pipe', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  t.teardown(async () => {
    child.stdin?.end()
    await exited
  })
  if (!child.stdout) throw new Error('the control server has no output')
  const [url] = await once(createInterface(child.stdout), 'line')
  return String(url)
}
