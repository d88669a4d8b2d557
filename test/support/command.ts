import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { TEST_ENVIRONMENT } from './app.ts'
import { spawnNode } from './node-process.ts'
import { cliScript, projectRoot } from './project.ts'

/** Runs one of the operator's commands with the given lines as its standard input. */
export async function runCommand(
  environment: Record<string, string>,
  lines: readonly string[],
  ...words: string[]
): Promise<{ code: unknown; stdout: string; stderr: string }> {
  const child = spawnNode(cliScript, words, {
    cwd: projectRoot,
    env: { ...TEST_ENVIRONMENT, ...environment },
    stdio: ['pipe', 'pipe', 'pipe']
  })
  child.stdin?.end(lines.map(line => `${line}\n`).join(''))
  const ended = once(child, 'exit')
  if (!child.stdout || !child.stderr) throw new Error('the command has no output')
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)])
  const [code] = await ended
  return { code, stdout, stderr }
}
