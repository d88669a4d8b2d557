/** Tasks of each lane that may wait. With the two in the thread, 64 calls of unknown callers may be under way. */
const MAX_UNKNOWN = 62
const MAX_KNOWN = 62
/** Tasks that one caller may have in the lane of known callers: a user who signs in again and again cannot fill it. */
const MAX_PER_CALLER = 4
/** So many tasks of known callers are next before one of the others is. */
const KNOWN_IN_A_ROW = 3

interface Entry<T> {
  task: T
  /** The caller that is known; undefined in the other lane. */
  caller: number | undefined
}

/**
 * Waiting tasks in two bounded lanes. The lane of known callers has room however many others wait, and is served first,
 * but never more than three times in a row while others wait.
 */
export class PasswordQueue<T> {
  readonly #known: Entry<T>[] = []
  readonly #unknown: Entry<T>[] = []
  #knownInARow = 0

  /** How many tasks wait. */
  get size(): number {
    return this.#known.length + this.#unknown.length
  }

  /**
   * Adds a task at the end of its lane. A known caller who has four tasks in the lane, and everyone when it is full, uses
   * the other lane.
   * @param caller who the known caller is; undefined for one that is not known
   * @returns false when there is no room
   */
  add(task: T, caller?: number): boolean {
    const own = this.#known.filter(entry => entry.caller === caller).length
    if (caller !== undefined && own < MAX_PER_CALLER && this.#known.length < MAX_KNOWN) {
      this.#known.push({ task, caller })
      return true
    }
    if (this.#unknown.length >= MAX_UNKNOWN) return false
    this.#unknown.push({ task, caller: undefined })
    return true
  }

  /** Removes and returns the next task; undefined when none waits. */
  next(): T | undefined {
    const isKnownNext = this.#known.length > 0 && (this.#unknown.length === 0 || this.#knownInARow < KNOWN_IN_A_ROW)
    this.#knownInARow = isKnownNext ? this.#knownInARow + 1 : 0
    return (isKnownNext ? this.#known : this.#unknown).shift()?.task
  }
}
