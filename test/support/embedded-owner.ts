/**
 * A service as far as the embedded Postgres can tell: starts it with the options in its argument (JSON), prints one
 * JSON line (`url` or `error`), stops it when stdin ends. Can be killed, and run as another user.
 */
import { startEmbeddedPostgres } from '../../src/database/embedded/index.ts'

const silent = { debug() {}, info() {}, warn() {}, error() {} }
const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`)

try {
  const embedded = await startEmbeddedPostgres({ ...JSON.parse(process.argv[2] ?? '{}'), log: silent })
  say({ url: embedded.url })
  for await (const _ of process.stdin);
  await embedded.stop()
} catch (err) {
  say({ error: err instanceof Error ? err.message : String(err) })
}
