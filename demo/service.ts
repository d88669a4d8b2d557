import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { serverScript } from '../test/support/project.ts'

/** The log level, as pino numbers it. */
const FATAL = 60
/** Lines of the reason why the service ended. */
const LINES = 5
const POLL_MS = 100

/** The service as a child process. */
export class DemoService {
  /** Resolves when it has ended, with the reason. */
  readonly ended: Promise<string>
  readonly #child: ChildProcess
  /** Its address, from its own log: another service may listen on the port that was chosen for it. */
  readonly #main: Promise<string>
  readonly #lines: string[] = []

  /** @param environment its settings; its log level must be `info` or lower */
  constructor(environment: NodeJS.ProcessEnv) {
    this.#child = spawn(process.execPath, [serverScript], {
      env: environment,
      stdio: ['ignore', 'pipe', 'pipe'],
      // Its own process group: Ctrl-C in the terminal signals the demo only, which passes the signal on.
      detached: true
    })
    const { stdout, stderr } = this.#child
    if (!stdout || !stderr) throw new Error('the service has no output')
    createInterface(stderr).on('line', line => this.#keep(line))
    this.#main = new Promise(resolve => {
      createInterface(stdout).on('line', text => {
        if (!text.startsWith('{')) return
        const line = JSON.parse(text)
        if (line.msg === 'listening') resolve(String(line.main))
        if (line.level >= FATAL) this.#keep(`${line.msg}: ${line.reason ?? line.err?.message ?? ''}`)
      })
    })
    this.ended = once(this.#child, 'close').then(
      ([code, signal]) => [`The service ended with ${signal ?? `exit code ${code}`}.`, ...this.#lines].join('\n  '),
      (err: unknown) => `The service was not started: ${err}`
    )
  }

  /**
   * Waits until it has started.
   * @returns the address of its main port
   * @throws the reason of `signal`, which must be aborted when the service ends
   */
  async started(signal: AbortSignal): Promise<string> {
    const main = await Promise.race([this.#main, this.ended])
    for (;;) {
      signal.throwIfAborted()
      const answer = await fetch(`${main}/health/startup`, { signal }).catch(() => undefined)
      if (answer?.ok) return main
      await sleep(POLL_MS)
    }
  }

  /** Stops it. Idempotent. */
  async stop(): Promise<void> {
    this.#child.kill('SIGTERM')
    await this.ended
  }

  #keep(line: string): void {
    this.#lines.splice(0, this.#lines.length - LINES + 1)
    this.#lines.push(line)
  }
}
