/** Signals to a postmaster and all of its backends, each of which leads a process group of its own. Linux only. */
import { readdir, readFile, readlink } from 'node:fs/promises'
import { errorCode } from '../../src/database/error-code.ts'

/** Processes that no longer exist are not an error. */
export async function signalTree(parent: number, signal: NodeJS.Signals): Promise<void> {
  // While it is stopped, its list of children cannot change.
  signalProcess(parent, 'SIGSTOP')
  for (const pid of [...(await childrenOf(parent)), parent]) signalProcess(pid, signal)
}

/**
 * Kills the guards of a service, which would end its server after a kill of the service
 * (src/database/embedded/guard.ts): this simulates the end of the whole machine or container.
 */
export async function killGuards(service: number): Promise<void> {
  for (const pid of await childrenOf(service)) {
    if ((await readProc(pid, 'cmdline')).startsWith('/bin/sh\0-c')) signalProcess(pid, 'SIGKILL')
  }
}

async function childrenOf(parent: number): Promise<number[]> {
  const children: number[] = []
  for (const pid of await processes()) {
    const stat = await readProc(pid, 'stat')
    // The command name, in parentheses, may contain any character: the fields are counted from its end.
    if (Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === parent) children.push(pid)
  }
  return children
}

/** The processes with `dir` as their working directory or in their command line. */
export async function processesIn(dir: string): Promise<number[]> {
  const found: number[] = []
  for (const pid of await processes()) {
    const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => '')
    if (pid !== process.pid && (cwd.startsWith(dir) || (await readProc(pid, 'cmdline')).includes(dir))) found.push(pid)
  }
  return found
}

async function processes(): Promise<number[]> {
  return (await readdir('/proc')).map(Number).filter(Number.isInteger)
}

/** Empty if the process has ended meanwhile. */
function readProc(pid: number, file: string): Promise<string> {
  return readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '')
}

function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (err) {
    if (errorCode(err) !== 'ESRCH') throw err
  }
}
