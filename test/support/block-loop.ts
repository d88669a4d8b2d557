// Preloaded into a service process by system tests (node --import): SIGWINCH blocks its main loop for BLOCK_MS.
import { isMainThread } from 'node:worker_threads'

if (isMainThread) {
  process.on('SIGWINCH', function blockTheLoop() {
    for (const end = performance.now() + Number(process.env.BLOCK_MS); performance.now() < end; );
  })
}
