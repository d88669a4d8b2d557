import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'
import { TEST_ENVIRONMENT } from './app.ts'
import { type NodeProcessOptions, spawnNode } from './node-process.ts'
import { projectRoot, serverScript } from './project.ts'

export { projectRoot } from './project.ts'

export interface LogLine {
  level: number
  msg: string
  [field: string]: unknown
}

/** A service process, started as an operator starts it. */
export interface Service {
  child: ChildProcess
  pid: number
  /** Base address of the main port. */
  main: string
  /** Base address of the probe port; of the main port when PROBE_PORT is off. */
  probes: string
  /** All its log lines so far. */
  log: LogLine[]
  /** All its standard output, including lines that are not log lines. */
  text(): string
  /** Resolves with the first past or future log line with this message; rejects when the process ends without one. */
  logged(message: string): Promise<LogLine>
  /** Sends a signal and waits for the end. */
  end(signal?: NodeJS.Signals): Promise<{ code: number | null; signal: NodeJS.Signals | null }>
}

/**
 * Starts the built service on free ports and waits until it listens. It is killed at teardown.
 * @param environment settings in addition to those of the tests
 * @param nodeArguments before the script, such as a preload
 * @param options limits and standard streams of the process, and the script of another build
 */
export async function startService(
  t: Test,
  environment: Record<string, string>,
  nodeArguments: string[] = [],
  { script = serverScript, ...options }: Pick<NodeProcessOptions, 'openFiles'> & { script?: string } = {}
): Promise<Service> {
  const [first = '', ...rest] = [...nodeArguments, script]
  const child = spawnNode(first, rest, {
    cwd: projectRoot,
    env: { ...TEST_ENVIRONMENT, DRAIN_SECONDS: '0', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...options
  })
  const { stdout, stderr } = child
  if (!stdout || !stderr) throw new Error('the service has no output')
  const ended = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>
  t.teardown(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    await ended
  })

  const log: LogLine[] = []
  const waiting = new Set<() => void>()
  let errors = ''
  stderr.setEncoding('utf8').on('data', text => {
    errors += text
  })
  let written = ''
  createInterface(stdout).on('line', text => {
    written += `${text}\n`
    if (!text.startsWith('{')) return
    log.push(JSON.parse(text))
    for (const look of waiting) look()
  })

  async function logged(message: string): Promise<LogLine> {
    let look: () => void = () => undefined
    const found = new Promise<LogLine>(resolve => {
      look = () => {
        const line = log.find(({ msg }) => msg === message)
        if (line) resolve(line)
      }
      look()
      waiting.add(look)
    })
    const gone = ended.then(([code, signal]) => {
      look()
      throw new Error(
        `the service ended (${code ?? signal}) without logging '${message}'\n${errors}${JSON.stringify(log, null, 1)}`
      )
    })
    try {
      return await Promise.race([found, gone])
    } finally {
      waiting.delete(look)
      gone.catch(() => undefined)
    }
  }

  const { main, probes } = await logged('listening')
  return {
    child,
    pid: child.pid ?? Number.NaN,
    main: String(main),
    probes: new URL(String(probes)).origin,
    log,
    text: () => written,
    logged,
    async end(signal = 'SIGTERM') {
      child.kill(signal)
      const [code, signalled] = await ended
      return { code, signal: signalled }
    }
  }
}
