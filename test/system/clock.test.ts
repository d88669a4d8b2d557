// The clock of the database's host is set back while replicas run, by libfaketime.
import { existsSync } from 'node:fs'
import { chmod, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startTestPostgres } from '../support/postgres.ts'
import { observe, startReplica } from '../support/replica.ts'

const LIBRARY = ['x86_64', 'aarch64'].map(cpu => `/usr/lib/${cpu}-linux-gnu/faketime/libfaketime.so.1`).find(existsSync)
const skip = LIBRARY === undefined && 'libfaketime is not installed (Debian: apt-get install libfaketime)'

/** A Postgres whose clock `setClock` sets, by an offset such as `-2h`. */
async function startWithClock(t: Test) {
  // The server may run as another user.
  const directory = await mkdtemp(join(tmpdir(), 'trading-health-clock-'))
  await chmod(directory, 0o755)
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  const file = join(directory, 'offset')
  const setClock = async (offset: string) => {
    await writeFile(`${file}.new`, `${offset}\n`, { mode: 0o644 })
    await rename(`${file}.new`, file)
  }
  await setClock('+0')
  const environment = {
    LD_PRELOAD: LIBRARY ?? '',
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_NO_CACHE: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1'
  }
  return { server: await startTestPostgres(t, { environment }), setClock }
}

t.test('a job runs every second after the clock was set back by two hours, and after a restart', { skip }, async t => {
  const { server, setClock } = await startWithClock(t)
  const sql = await observe(t, server.url)
  /** Resolves with the milliseconds until the job has run `count` more times. */
  const runs = async (count: number) => {
    const startedMs = performance.now()
    const total = async () => {
      const [row] = await sql<{ total: number }[]>`select count(*)::int as total from effects`
      return row?.total ?? 0
    }
    const before = await total()
    while ((await total()) < before + count) await sleep(100)
    return Math.round(performance.now() - startedMs)
  }
  const replica = await startReplica(t, 'one', 'each_second', { DATABASE_URL: server.url })
  await runs(2)
  await setClock('-2h')
  const [row] = await sql<{ ago: number }[]>`
    select round(extract(epoch from max(at) - clock_timestamp()) / 3600)::int as ago from effects`
  t.equal(row?.ago, 2, 'the clock of the database was set back')
  const tookMs = await runs(3)
  t.ok(tookMs < 20_000, `three runs took ${tookMs} ms`)
  const line = await replica.logged('fire times too far ahead, set again: the database clock was set back')
  t.strictSame(Object.keys(Object(line.seconds_ahead)), ['each_second'])
  t.equal(replica.log.filter(({ msg }) => msg === line.msg).length, 1, 'logged once')
  const { body } = await replica.call('GET', 'scheduler-status')
  t.strictSame(
    (body.status as { jobs: { overdue: boolean }[] }).jobs.map(({ overdue }) => overdue),
    [false]
  )
  await replica.end()

  await setClock('-4h')
  const again = await startReplica(t, 'one', 'each_second', { DATABASE_URL: server.url })
  const afterMs = await runs(2)
  t.ok(afterMs < 20_000, `two runs took ${afterMs} ms`)
  await again.end()
})
