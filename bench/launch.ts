// Starts whole processes and loads them. A comparison uses several launches: on shared machines two launches of one
// program differ more than two rounds of one launch.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

const CLOCK_TICKS_PER_SECOND = 100

export interface Launched {
  child: ChildProcess
  port: number
  /** From spawn to the first answer with status 200, in milliseconds. */
  firstAnswerMs: number
  /** CPU time used so far, all threads, in milliseconds. */
  cpuMs(): number
  /** Resident memory, in megabytes. */
  rssMb(): number
  end(): Promise<void>
}

/** Starts a server on core 0 and waits for its first 200. */
export async function launch(
  script: string,
  { port, path, env }: { port: number; path: string; env: Record<string, string> }
): Promise<Launched> {
  const begun = performance.now()
  const child = spawn('taskset', ['-c', '0', process.execPath, script], {
    env: { PATH: process.env.PATH, PORT: String(port), METRICS_PORT: '0', ...env },
    stdio: ['ignore', 'ignore', 'inherit']
  })
  const ended = once(child, 'exit')
  const url = `http://127.0.0.1:${port}${path}`
  while ((await statusOf(url)) !== 200) {
    if (child.exitCode !== null) throw new Error(`${script} ended`)
    await sleep(2)
  }
  const firstAnswerMs = performance.now() - begun
  const proc = (file: string) => readFileSync(`/proc/${child.pid}/${file}`, 'utf8')
  return {
    child,
    port,
    firstAnswerMs,
    cpuMs: () => {
      const fields = proc('stat')
        .slice(proc('stat').lastIndexOf(')') + 2)
        .split(' ')
      return ((Number(fields[11]) + Number(fields[12])) * 1_000) / CLOCK_TICKS_PER_SECOND
    },
    rssMb: () => Number(/VmRSS:\s+(\d+)/.exec(proc('status'))?.[1]) / 1024,
    end: async () => {
      child.kill('SIGKILL')
      await ended
    }
  }
}

async function statusOf(url: string): Promise<number> {
  try {
    const response = await fetch(url, { headers: { connection: 'close' } })
    await response.arrayBuffer()
    return response.status
  } catch {
    return 0 // not listening yet
  }
}

export interface Load {
  requestsPerSecond: number
  /** Of the server, per request, in microseconds. */
  cpuUsPerRequest: number
  p99Ms: number
  failed: number
}

/** Loads an address from core 1 with wrk, 50 connections, for some seconds. */
export async function load(
  server: Launched,
  url: string,
  { seconds, close }: { seconds: number; close: boolean }
): Promise<Load> {
  const before = server.cpuMs()
  const options = ['-t1', '-c50', `-d${seconds}s`, '--latency', ...(close ? ['-H', 'Connection: close'] : [])]
  const wrk = spawn('taskset', ['-c', '1', 'wrk', ...options, url], { stdio: ['ignore', 'pipe', 'inherit'] })
  let out = ''
  wrk.stdout.setEncoding('utf8').on('data', text => {
    out += text
  })
  await once(wrk, 'close')
  const cpuMs = server.cpuMs() - before
  const number = (pattern: RegExp) => Number(pattern.exec(out)?.[1] ?? Number.NaN)
  const requests = number(/(\d+) requests in/)
  const [, p99, unit] = /99%\s+([\d.]+)(us|ms|s)/.exec(out) ?? []
  return {
    requestsPerSecond: number(/Requests\/sec:\s+([\d.]+)/),
    cpuUsPerRequest: (cpuMs * 1_000) / requests,
    p99Ms: Number(p99) * (unit === 'us' ? 0.001 : unit === 's' ? 1_000 : 1),
    failed: number(/Non-2xx or 3xx responses: (\d+)/) || 0
  }
}

/** Whether the tools that a measurement needs are installed; prints what is missing. */
export function requireTools(...tools: string[]): void {
  const missing = tools.filter(tool => spawnSync('sh', ['-c', `command -v ${tool}`]).status !== 0)
  if (missing.length > 0)
    throw new Error(`this measurement needs ${missing.join(' and ')} (Debian: apt-get install wrk util-linux)`)
}

/** Median and its confidence interval of about 95 % (by order statistics). */
export function summary(values: number[]): { median: number; low: number; high: number } {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (i: number) => sorted[Math.max(0, Math.min(sorted.length - 1, i))] ?? Number.NaN
  const half = sorted.length / 2
  const reach = 0.98 * Math.sqrt(sorted.length)
  return {
    median: (at(Math.ceil(half) - 1) + at(Math.floor(half))) / 2,
    low: at(Math.floor(half - reach)),
    high: at(Math.ceil(half + reach) - 1)
  }
}

export function shuffled<T>(items: T[]): T[] {
  return items
    .map(item => ({ item, key: Math.random() }))
    .sort((a, b) => a.key - b.key)
    .map(({ item }) => item)
}
