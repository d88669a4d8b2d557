/** Ends a child process with this process, in whatever way this process ends. */
import { type ChildProcess, spawn } from 'node:child_process'
import { Socket } from 'node:net'
import { ENVIRONMENT } from './runner.ts'

/**
 * Waits for the end of its standard input, which comes when this process ends, or for a line, which comes when the child
 * has ended. Then a fast shutdown for 2.5 s, an immediate one for 0.7 s, and a kill.
 */
const SCRIPT = `
read -r ended && exit
for step in INT:25 QUIT:7 KILL:0; do
  kill -"\${step%:*}" "$1" 2>/dev/null || exit
  tenths="\${step#*:}"
  while [ "$tenths" -gt 0 ] && kill -0 "$1" 2>/dev/null; do
    sleep 0.1
    tenths=$((tenths - 1))
  done
done
`

/**
 * Has a child process ended within 5 s after this process: by SIGINT, then SIGQUIT, then SIGKILL. A shell does it, so
 * that it is also done after a kill -9 of this process. Without effect on a child that was not started.
 */
export function endWithThisProcess(child: ChildProcess): void {
  if (child.pid === undefined) return
  const guard = spawn('/bin/sh', ['-c', SCRIPT, 'sh', String(child.pid)], {
    // Its own group: Ctrl-C reaches only the service.
    detached: true,
    cwd: '/',
    env: ENVIRONMENT,
    stdio: ['pipe', 'ignore', 'ignore']
  })
  // A machine that cannot start it cannot start a server either, which is reported.
  guard.on('error', () => undefined)
  guard.stdin?.on('error', () => undefined)
  guard.unref()
  if (guard.stdin instanceof Socket) guard.stdin.unref()
  child.once('exit', () => guard.stdin?.end('ended\n'))
}
