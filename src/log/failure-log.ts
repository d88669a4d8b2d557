import type { Log } from './log.ts'

export interface FailureMessages {
  /** Logged as a warning at the first failure. */
  failedMessage: string
  /** Logged at the first success after failures. */
  recoveredMessage: string
}

/** Logs an operation that fails again and again once, and its end with the number of failures. */
export class FailureLog {
  readonly #messages: FailureMessages
  #failures = 0

  constructor(messages: FailureMessages) {
    this.#messages = messages
  }

  /** Records a failure, with the fields of its line. */
  failed(log: Log, fields: object): void {
    if (this.#failures === 0) log.warn(fields, this.#messages.failedMessage)
    this.#failures++
  }

  /** Records a success, with further fields of its line. */
  succeeded(log: Log, fields: object = {}): void {
    if (this.#failures > 0) log.info({ ...fields, failures: this.#failures }, this.#messages.recoveredMessage)
    this.#failures = 0
  }
}
