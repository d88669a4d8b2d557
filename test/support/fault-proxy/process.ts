// The process of a fault proxy. Its argument is the target; commands arrive on standard input, one JSON text per line,
// and the results are written to standard output in the same order. It ends when its input ends.
import { createInterface } from 'node:readline'
import type { Command, Target } from './commands.ts'
import { Relay } from './relay.ts'

const target: Target = JSON.parse(process.argv[2] ?? '')
const relay = new Relay(target)
// The process of the test has ended.
process.stdout.on('error', () => process.exit(0))
const write = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`)
write(await relay.listen())
for await (const line of createInterface(process.stdin)) {
  const command: Command = JSON.parse(line)
  write(await relay.carryOut(command))
}
process.exit(0)
