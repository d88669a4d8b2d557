/** How a call ended, as a value: no rejection is left without a handler. */
export type Settled<T> = { value: T; error?: never } | { error: unknown; value?: never }

/** Waits for the end of a call. Never rejects. */
export async function settled<T>(call: Promise<T>): Promise<Settled<T>> {
  try {
    return { value: await call }
  } catch (error) {
    return { error }
  }
}
