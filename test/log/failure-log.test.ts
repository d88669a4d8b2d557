import t from 'tap'
import { FailureLog } from '../../src/log/failure-log.ts'
import { captureLog } from '../support/app.ts'

t.test('consecutive failures are logged once, and their end with their count', async t => {
  const { lines, logger } = captureLog()
  const log = new FailureLog({ failedMessage: 'write failed', recoveredMessage: 'write succeeded again' })
  log.succeeded(logger)
  for (const reason of ['a', 'b', 'c']) log.failed(logger, { reason })
  log.succeeded(logger, { id: 7 })
  log.succeeded(logger)
  log.failed(logger, { reason: 'd' })
  t.strictSame(
    lines.map(({ msg, reason, failures, id }) => ({ msg, reason, failures, id })),
    [
      { msg: 'write failed', reason: 'a', failures: undefined, id: undefined },
      { msg: 'write succeeded again', reason: undefined, failures: 3, id: 7 },
      { msg: 'write failed', reason: 'd', failures: undefined, id: undefined }
    ]
  )
})
