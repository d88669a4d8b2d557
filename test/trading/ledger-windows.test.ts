import fc from 'fast-check'
import t from 'tap'
import { DAY, HOUR, MINUTE } from '../../src/async/durations.ts'
import { nextWindows, retriedWindow } from '../../src/trading/ledger-windows.ts'

const NOON = Date.UTC(2026, 10, 22, 12)

t.test(
  'a wallet that was just read is one window with the last hour, and two days at the first run of a day',
  async t => {
    const windows = (readUntil: number, now: number) =>
      nextWindows({ readUntil, incomplete: [], createdAt: 0, earliest: 0, now }).windows
    t.strictSame(windows(NOON - 5 * MINUTE, NOON), [{ from: NOON - 5 * MINUTE - HOUR, until: NOON }])
    const midnight = NOON + 12 * HOUR
    t.strictSame(windows(midnight - 1, midnight), [{ from: midnight - 1 - 2 * DAY, until: midnight }])
  }
)

t.test('windows have no gaps, at most seven days, and begin neither before the account nor out of reach', async () => {
  const days = fc.integer({ min: 0, max: 100 })
  fc.assert(
    fc.property(days, days, days, (read, created, reach) => {
      const now = NOON
      const [readUntil, createdAt, earliest] = [now - read * DAY, now - created * DAY, now - reach * DAY]
      const { windows, isBehind } = nextWindows({ readUntil, incomplete: [], createdAt, earliest, now })
      const begin = Math.max(createdAt, earliest)
      const starts = windows.every(({ from, until }, index) => {
        const follows = index === 0 || from === windows[index - 1]?.until
        return follows && from >= begin && until > from && until - from <= 7 * DAY
      })
      const end = windows.at(-1)?.until ?? now
      const first = windows[0]?.from ?? now
      return starts && isBehind === end < now && windows.length <= 4 && first <= Math.max(readUntil, begin)
    })
  )
})

t.test('each part of the incomplete periods is read again in turn, as far as the exchange may provide it', async t => {
  const incomplete = [
    { from: NOON - 60 * DAY, until: NOON - 40 * DAY, code: 'not_provided' },
    { from: NOON - 35 * DAY, until: NOON - 20 * DAY, code: 'permission' },
    { from: NOON - 15 * DAY, until: NOON - 14 * DAY, code: 'unreadable' },
    { from: NOON - 2 * HOUR, until: NOON, code: 'unreadable' }
  ] as const
  const state = {
    readUntil: NOON,
    incomplete,
    windows: [{ from: NOON - HOUR, until: NOON }],
    earliest: NOON - 30 * DAY
  }
  const parts = (found: ReadonlySet<'permission'>) =>
    Array.from({ length: 8 }, (_, run) => retriedWindow({ ...state, found, now: NOON + run * 5 * MINUTE }))
  const spans = (list: ReturnType<typeof parts>) =>
    [...new Set(list.map(part => part && `${(NOON - part.from) / HOUR} ${(NOON - part.until) / HOUR}`))].sort()
  t.strictSame(spans(parts(new Set())), ['2 1', '360 336', '552 480', '720 552'])
  t.strictSame(spans(parts(new Set(['permission']))), ['2 1', '360 336'], 'what is missing now is missing there, too')
  t.equal(retriedWindow({ ...state, incomplete: [], found: new Set(), now: NOON }), null)
})
