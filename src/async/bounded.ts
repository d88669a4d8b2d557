/**
 * Does the work for every item, at most `limit` at the same time. After a failure no further work begins.
 * @throws the error of the first failure, when all work that began has ended
 */
export async function eachAtMost<T>(
  limit: number,
  items: Iterable<T>,
  work: (item: T) => Promise<void>
): Promise<void> {
  const queue = items[Symbol.iterator]()
  const failures: unknown[] = []
  const worker = async () => {
    for (let next = queue.next(); !next.done && failures.length === 0; next = queue.next()) {
      try {
        await work(next.value)
      } catch (err) {
        failures.push(err)
      }
    }
  }
  await Promise.all(Array.from({ length: limit }, worker))
  if (failures.length > 0) throw failures[0]
}

/** Returns a function that runs one piece of work at a time, in the order of the calls. */
export function oneAtATime(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve()
  return work => {
    const next = last.then(work)
    last = next.catch(() => undefined)
    return next
  }
}

/** Returns a function that runs at most `limit` pieces of work at the same time; the others wait in the order of the calls. */
export function atMost(limit: number): <T>(work: () => Promise<T>) => Promise<T> {
  let running = 0
  const waiting: (() => void)[] = []
  return async work => {
    if (running < limit) running++
    // The one that ends leaves its place to the next.
    else await new Promise<void>(resolve => waiting.push(resolve))
    try {
      return await work()
    } finally {
      const next = waiting.shift()
      if (next) next()
      else running--
    }
  }
}

/** The items in portions of at most `size`. */
export function* portionsOf<T>(items: readonly T[], size: number): Generator<T[]> {
  for (let start = 0; start < items.length; start += size) yield items.slice(start, start + size)
}

/**
 * Calls `work` with all items. Items with which it rejects are divided into halves, down to the single ones that cause the
 * error: these go to `onError`, which may throw to end this.
 *
 * @param isOfItems whether the items may cause an error; every other one rejects
 */
export async function isolatingErrors<T>(
  items: readonly T[],
  work: (items: readonly T[]) => Promise<void>,
  isOfItems: (err: unknown) => boolean,
  onError: (item: T, err: unknown) => void
): Promise<void> {
  try {
    await work(items)
  } catch (err) {
    if (!isOfItems(err)) throw err
    const [first] = items
    if (items.length === 1 && first !== undefined) onError(first, err)
    else {
      for (const half of portionsOf(items, Math.ceil(items.length / 2))) {
        await isolatingErrors(half, work, isOfItems, onError)
      }
    }
  }
}
