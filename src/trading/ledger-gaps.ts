// @FEAT:trading @COMP:service @TYPE:core
import type { LedgerGapCode } from '../domain/ledger-entry.ts'
import type { Millis } from '../domain/millis.ts'

/** A span of a ledger in which entries may be missing, the end excluded. */
export interface IncompletePeriod {
  from: Millis
  until: Millis
  code: LedgerGapCode
}

/** A span of time, the end excluded. */
interface Span {
  from: Millis
  until: Millis
}

/** Most periods of one code. The oldest ones beyond that become one. */
const MAX_PERIODS = 100

/**
 * The incomplete periods after a span was read: what was known of the span is replaced by what the reading found.
 *
 * @param codes what the reading found missing in the whole span; none when the span is complete
 * @returns the oldest first; those of one code neither overlap nor touch
 */
export function periodsAfter(
  periods: readonly IncompletePeriod[],
  span: Span,
  codes: readonly LedgerGapCode[]
): IncompletePeriod[] {
  const kept = periods.flatMap(period => without(period, span))
  return united([...kept, ...codes.map(code => ({ from: span.from, until: span.until, code }))])
}

/** Whether a period of this code is known that overlaps or touches the span. */
export function isKnown(periods: readonly IncompletePeriod[], { from, until }: Span, code: LedgerGapCode): boolean {
  return periods.some(period => period.code === code && period.from <= until && period.until >= from)
}

/** The parts of a period outside of a span. */
function without(period: IncompletePeriod, { from, until }: Span): IncompletePeriod[] {
  const before = { ...period, until: Math.min(period.until, from) }
  const after = { ...period, from: Math.max(period.from, until) }
  return [before, after].filter(part => part.from < part.until)
}

function united(periods: readonly IncompletePeriod[]): IncompletePeriod[] {
  const byCode = new Map<LedgerGapCode, IncompletePeriod[]>()
  for (const period of periods.toSorted((a, b) => a.from - b.from)) {
    const ofCode = byCode.get(period.code) ?? []
    byCode.set(period.code, ofCode)
    const last = ofCode.at(-1)
    if (last === undefined || last.until < period.from) ofCode.push({ ...period })
    else last.until = Math.max(last.until, period.until)
  }
  return [...byCode.values()].flatMap(bounded).sort((a, b) => a.from - b.from)
}

function bounded(periods: readonly IncompletePeriod[]): IncompletePeriod[] {
  const surplus = periods.slice(0, Math.max(0, periods.length - MAX_PERIODS + 1))
  const [first] = surplus
  const last = surplus.at(-1)
  if (periods.length <= MAX_PERIODS || first === undefined || last === undefined) return [...periods]
  return [{ ...first, until: last.until }, ...periods.slice(surplus.length)]
}
