/**
 * A process that owns an embedded Postgres: starts it with the options in its argument (JSON), prints one JSON line
 * (`url` or `error`), stops it when stdin ends. After a line on stdin it exits at once. It can be killed, and run as
 * another user.
 */
import { startEmbeddedPostgres } from '../../src/database/embedded/index.ts'

const silent = { debug() {}, info() {}, warn() {}, error() {} }
const print = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`)

try {
  const embedded = await startEmbeddedPostgres({ ...JSON.parse(process.argv[2] ?? '{}'), log: silent })
  print({ url: embedded.url })
  for await (const _ of process.stdin) process.exit(1)
  await embedded.stop()
} catch (err) {
  print({ error: err instanceof Error ? err.message : String(err) })
}
