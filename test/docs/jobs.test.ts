import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type JobServices, jobTable } from '../../src/jobs/index.ts'
import { projectRoot } from '../support/project.ts'

const read = (file: string) => readFileSync(join(projectRoot, file), 'utf8')
// The services are not used before a job runs.
const jobs = jobTable({ timeZone: 'Asia/Seoul' } as JobServices)

t.test('README.md lists every job with its schedule', async t => {
  const [, table = ''] = /^\| job \| when \|.*\n\|[-|]+\|\n((?:\|.*\n)*)/m.exec(read('README.md')) ?? []
  const rows = [...table.matchAll(/^\| `(\w+)` \| ([^|]+) \|/gm)].map(([, id, when]) => [id, when])
  const expected = jobs.map(({ id, trigger, scope }) => [
    id,
    `${timeOf(trigger.text)}${scope === 'replica' ? ', on each replica' : ''}`
  ])
  t.strictSame(rows.sort(), expected.sort())
})

t.test('docs/api.md lists the type of every job', async t => {
  const [, table = ''] = /^\| `job_type` \| job \|\n\|[-|]+\|\n((?:\|.*\n)*)/m.exec(read('docs/api.md')) ?? []
  const rows = [...table.matchAll(/^\| `(\w+)` \| `(\w+)`/gm)].map(([, type, id]) => [type, id])
  t.strictSame(rows.sort(), jobs.map(({ type, id }) => [type, id]).sort())
})

t.test('docs/api.md lists for every job the counts that make a run partial', async t => {
  const [, table = ''] = /^\| job \| reasons \|\n\|[-|]+\|\n((?:\|.*\n)*)/m.exec(read('docs/api.md')) ?? []
  const rows = [...table.matchAll(/^\| `(\w+)` \| (.*) \|$/gm)].map(([, id, reasons = '']) => {
    return [id, ...[...reasons.matchAll(/`(\w+)`/g)].map(([, reason]) => reason)]
  })
  t.strictSame(
    rows,
    jobs.map(({ id, undone }) => [id, ...undone])
  )
})

/** `interval[0:05:07]` is `every 307 s`, `cron[hour='21', minute='3']` is `21:03`. */
function timeOf(trigger: string): string {
  const [, hours, minutes, seconds] = /^interval\[(\d+):(\d+):(\d+)\]$/.exec(trigger) ?? []
  if (hours !== undefined) return `every ${Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds)} s`
  const part = (name: string) => new RegExp(`${name}='(\\d+)'`).exec(trigger)?.[1]?.padStart(2, '0')
  return [part('hour'), part('minute'), part('second')].filter(one => one !== undefined).join(':')
}
