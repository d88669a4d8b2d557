import type { Test } from 'tap'

/** The names of the warnings that Node.js gives in this process from now to the end of the test. */
export function processWarnings(t: Test): () => string[] {
  const names: string[] = []
  const add = (warning: Error) => names.push(warning.name)
  process.on('warning', add)
  t.teardown(() => process.off('warning', add))
  return () => names
}
