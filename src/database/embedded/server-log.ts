/** The log of a Postgres server, line by line. */

/** Lines of a reason. */
const LINES = 4
const READY = /database system is ready to accept (read-only )?connections/
/** Time, zone and process id, which `log_line_prefix` puts before each message. */
const PREFIX = /^\S+ \S+ \S+ \[\d+\] /
const FATAL = /^(FATAL|PANIC): /
/** Kinds of lines without values of rows and statements. `log_error_verbosity=terse` would also drop the hints of a start. */
const WITHOUT_VALUES = /^(LOG|NOTICE|WARNING|ERROR|FATAL|PANIC|HINT): /

export class ServerLog {
  #ready = false
  #lines: string[] = []

  /**
   * Adds a line.
   * @returns whether it may be logged: until the server is ready every line, then none that may hold a value
   */
  add(line: string): boolean {
    const text = line.replace(PREFIX, '')
    if (this.#ready) return text !== line && WITHOUT_VALUES.test(text)
    this.#ready = READY.test(line)
    this.#keep(text.replace(/\s+/g, ' ').trim())
    return true
  }

  /** Whether the server has accepted connections. */
  get ready(): boolean {
    return this.#ready
  }

  /** Why the server ended before it was ready: its fatal message with detail and hint, or else its last lines. */
  reason(): string {
    return this.#lines.join(' / ')
  }

  /** The reason begins with the fatal line. What follows explains it, except what the server logs about its end. */
  #keep(text: string): void {
    if (FATAL.test(text)) this.#lines = [text]
    else if (!FATAL.test(this.#lines[0] ?? '')) this.#lines = [...this.#lines.slice(1 - LINES), text]
    else if (this.#lines.length < LINES && !text.startsWith('LOG: ')) this.#lines.push(text)
  }
}
