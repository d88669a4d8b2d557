import t from 'tap'
import { CLOSE_REASONS, ConnectionCounts, PORTS } from '../../src/connections/connection-counts.ts'

t.test('each port has its own counts, which another thread reads from shared memory', async t => {
  const counts = new ConnectionCounts()
  for (const [i, port] of PORTS.entries()) {
    const writer = new ConnectionCounts(counts.buffer).writer(port)
    writer.setOpen(9)
    writer.setOpen(i + 1)
    for (const [j, reason] of CLOSE_REASONS.entries()) {
      for (let n = 0; n < 10 * i + j; n++) writer.countClosed(reason)
    }
  }
  t.strictSame(
    PORTS.map(port => counts.read(port)),
    [
      { open: 1, closed: { evicted: 0, refused: 1, unread: 2 } },
      { open: 2, closed: { evicted: 10, refused: 11, unread: 12 } },
      { open: 3, closed: { evicted: 20, refused: 21, unread: 22 } }
    ]
  )
})
