import t from 'tap'
import { type JobServices, jobTable } from '../../src/jobs/index.ts'

t.test('only the performance job accepts a date, which must be a past day in the time zone of the service', async t => {
  const takes = (timeZone: string) => {
    // The jobs do not use these before they run.
    const jobs = jobTable({ timeZone } as JobServices)
    const taking = jobs.filter(job => job.takesDate !== undefined)
    t.strictSame(
      taking.map(({ type }) => type),
      ['calculate_performance']
    )
    return (date: string, at: string) => taking[0]?.takesDate?.(date, Date.parse(at))
  }
  const seoul = takes('Asia/Seoul')
  t.equal(seoul('2026-11-22', '2026-11-22T14:59:59.999Z'), false, 'the last moment of the day')
  t.equal(seoul('2026-11-22', '2026-11-22T15:00:00.000Z'), true, 'midnight')
  t.equal(seoul('2026-11-24', '2026-11-22T15:00:00.000Z'), false, 'a future day')
  t.equal(seoul('1970-01-01', '2026-11-22T15:00:00.000Z'), true)
  const newYork = takes('America/New_York')
  t.equal(newYork('2026-11-01', '2026-11-02T04:59:59.999Z'), false, 'a day of 25 hours')
  t.equal(newYork('2026-11-01', '2026-11-02T05:00:00.000Z'), true)
})
