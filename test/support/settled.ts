/** The result or the error of a call, as a value, so that every rejection has a handler. */
export type Settled<T> = { value: T; error?: never } | { error: unknown; value?: never }

/** Waits for a call. Never rejects. */
export async function settled<T>(call: Promise<T>): Promise<Settled<T>> {
  try {
    return { value: await call }
  } catch (error) {
    return { error }
  }
}
