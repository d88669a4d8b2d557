import { writeSync } from 'node:fs'

const STDOUT = 1
/** How long a line waits for a pipe that is full, in milliseconds. */
const FULL_PIPE_MS = 100

/** Where pino writes its lines. */
export interface LogDestination {
  write(line: string): void
}

/**
 * Writes lines to standard output at once, so that they are in order with those of the other thread and none is lost
 * when the process ends. Never throws: a line that cannot be written (the disk is full, the reader is gone or does not read)
 * is dropped. The first such line waits for at most 100 ms, the following ones do not wait. pino's own destination retries for ever, in the way of the event loop, or throws
 * outside of every promise. The first line that can be written again follows one that counts the dropped ones.
 * @param fd the file descriptor; standard output unless given
 */
export function logDestination(fd = STDOUT): LogDestination {
  let dropped = 0
  let incomplete = false

  return {
    write(line) {
      const gap = dropped === 0 ? '' : `${incomplete ? '\n' : ''}${droppedLine(dropped)}`
      const bytes = Buffer.from(gap + line)
      const written = writeAll(fd, bytes, dropped === 0 ? FULL_PIPE_MS : 0)
      if (written === bytes.length) {
        dropped = 0
        incomplete = false
      } else {
        dropped++
        incomplete ||= written > 0
      }
    }
  }
}

function droppedLine(lines: number): string {
  return `${JSON.stringify({ level: 40, time: new Date().toISOString(), lines, msg: 'log lines dropped' })}\n`
}

/** @returns the number of bytes that were written before the first error */
function writeAll(fd: number, bytes: Buffer, patienceMs: number): number {
  let written = 0
  const deadline = performance.now() + patienceMs
  while (written < bytes.length) {
    try {
      written += writeSync(fd, bytes, written)
    } catch (err) {
      const full = err instanceof Error && 'code' in err && err.code === 'EAGAIN'
      if (!full || performance.now() >= deadline) return written
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1)
    }
  }
  return written
}
