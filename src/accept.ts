/**
 * The weight of a media type in an `Accept` header, 0 to 1; 0 when it is not acceptable. The most specific range that
 * includes the type counts: itself, `text/*`, `*` + `/*`. Without a header every type is acceptable.
 */
export function weightOf(type: string, accept: string | undefined): number {
  if (accept === undefined) return 1
  const ranges = rangesOf(accept)
  const family = `${type.split('/', 1)[0]}/*`
  return ranges.get(type) ?? ranges.get(family) ?? ranges.get('*/*') ?? 0
}

/** The weight of a media type that an `Accept` header names itself; 0 when it does not. */
export function namedWeightOf(type: string, accept: string): number {
  return rangesOf(accept).get(type) ?? 0
}

function rangesOf(accept: string): ReadonlyMap<string, number> {
  const ranges = new Map<string, number>()
  for (const range of accept.toLowerCase().split(',')) {
    const [name = '', ...parameters] = range.split(';').map(part => part.trim())
    const weight = parameters.map(parameter => /^q=([\d.]+)$/.exec(parameter)?.[1]).find(q => q !== undefined)
    // The first of several, as for one with other parameters (`text/csv;header=absent`).
    if (!ranges.has(name)) ranges.set(name, weight === undefined ? 1 : Number(weight) || 0)
  }
  return ranges
}
