// Takes the place of async-hook-domain in build/node_modules/. That package finds the test of an error that nothing
// caught by async hooks, which slow down every promise: a fourteenth of the CPU time of the suite. The tests of a file
// run one after the other, so the error is one of the innermost test that has not ended.

/** The domains of the tests that run, innermost last. */
const running = []
const originalEmit = process.emit

/** As in async-hook-domain: `onerror(err, event)` is called with an error that nothing caught. */
export class Domain {
  constructor(onerror) {
    this.onerror = onerror
    if (running.length === 0) {
      process.on('uncaughtExceptionMonitor', exception)
      process.emit = emit
    }
    running.push(this)
  }

  /** Idempotent. */
  destroy() {
    const index = running.indexOf(this)
    if (index < 0) return
    running.splice(index, 1)
    if (running.length > 0) return
    process.removeListener('uncaughtExceptionMonitor', exception)
    process.emit = originalEmit
  }
}

function exception(err, event) {
  if (!reported(err, event)) return
  // The process does not end by this error.
  process.setUncaughtExceptionCaptureCallback(() => process.setUncaughtExceptionCaptureCallback(null))
}

/** A listener of the event would be seen by the code under test. */
function emit(event, ...values) {
  if (event !== 'unhandledRejection' || process.listenerCount(event) > 0)
    return originalEmit.call(process, event, ...values)
  return reported(values[0], event)
}

/** @returns false where the code under test handles such errors itself */
function reported(err, event) {
  if (process.hasUncaughtExceptionCaptureCallback() || process.listenerCount('uncaughtException') > 0) return false
  running.at(-1)?.onerror(err, event)
  return running.length > 0
}
