/** Signals to a postmaster and all of its backends, each of which leads a process group of its own. Linux only. */
import { readdir, readFile } from 'node:fs/promises'
import { signalProcess } from '../../src/database/postgres-binaries.ts'

/** The parent goes first, so that it has no more children while they are counted. Gone processes are no error. */
export async function signalTree(parent: number, signal: NodeJS.Signals): Promise<void> {
  signalProcess(parent, signal)
  for (const pid of await childrenOf(parent)) signalProcess(pid, signal)
}

async function childrenOf(parent: number): Promise<number[]> {
  const children: number[] = []
  for (const pid of await processes()) {
    const stat = await readProc(pid, 'stat')
    // The command name, in parentheses, may hold anything: the fields count from its end.
    if (Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === parent) children.push(pid)
  }
  return children
}

/** The processes whose command line holds `text`. */
export async function processesWith(text: string): Promise<number[]> {
  const found: number[] = []
  for (const pid of await processes()) {
    if (pid !== process.pid && (await readProc(pid, 'cmdline')).includes(text)) found.push(pid)
  }
  return found
}

async function processes(): Promise<number[]> {
  return (await readdir('/proc')).map(Number).filter(Number.isInteger)
}

/** Empty for a process that has ended meanwhile. */
function readProc(pid: number, file: string): Promise<string> {
  return readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '')
}
