/** Names of processes that are never reused. Linux only. */
import { readFile } from 'node:fs/promises'

/**
 * Names a process by its id, its start time and the boot.
 * @returns undefined when the process does not exist, or is a zombie
 */
export async function processIdentity(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8')
    // The command name, in parentheses, may contain spaces and parentheses: the fields are counted from the last one.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : `${pid}.${fields[19]}.${boot.trim()}`
  } catch {
    return undefined
  }
}
