// The driver as this service uses it, on a failing network: each call settles by its deadline with its own rows or one
// typed error, and the next call on the same pool is correct. An uncaught error fails the test.
import { readdirSync, readlinkSync } from 'node:fs'
import t, { type Test } from 'tap'
import { Database } from '../../src/database/database.ts'
import { DatabaseUnavailableError } from '../../src/database/failure.ts'
import { Listener } from '../../src/database/listener.ts'
import { captureLog } from '../support/app.ts'
import type { Cut } from '../support/fault-proxy/commands.ts'
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts'
import { startTestPostgres, type TestPostgres } from '../support/postgres.ts'
import { type Settled, settled } from '../support/settled.ts'

/** The deadline of one call. The test fails when a call takes longer. */
const DEADLINE_MS = 3_000
/** The rows of the statement that is cut, which need several packets. */
const ROWS = 40

/** One kind of call, and the rows that it returns when nothing fails. */
interface Call {
  name: string
  run(database: Database, tag: string): Promise<readonly object[]>
  rows(tag: string): object[]
}

const numbered = (tag: string) => Array.from({ length: ROWS }, (_, i) => ({ tag, i: i + 1 }))

const calls: Call[] = [
  {
    name: 'statement',
    run: (database, tag) =>
      database.run(sql => sql`select ${tag}::text as tag, i from generate_series(1, ${ROWS}::int) i`, {
        deadlineMs: DEADLINE_MS
      }),
    rows: numbered
  },
  {
    name: 'transaction',
    run: (database, tag) =>
      database.transaction(
        async tx => {
          await tx`insert into written (tag) values (${tag})`
          const rows = await tx`select ${tag}::text as tag, i from generate_series(1, ${ROWS}::int) i`
          await tx`insert into written (tag) values (${`${tag} again`})`
          return rows
        },
        { deadlineMs: DEADLINE_MS }
      ),
    rows: numbered
  }
]

/** A pool behind its own proxy. */
interface Lane {
  proxy: FaultProxy
  database: Database
}

async function openLane(t: Test, postgres: TestPostgres, delayMs: number, max: number): Promise<Lane> {
  const { hostname, port } = new URL(postgres.url)
  const proxy = await startFaultProxy(t, { host: hostname, port: Number(port) })
  await proxy.setConditions({ delayMs })
  const database = new Database({ max, applicationName: 'test', log: captureLog().logger })
  database.open(proxy.url(postgres.url))
  t.teardown(() => database.close(0))
  return { proxy, database }
}

/** @returns why the result of a call is wrong; undefined when it is correct */
function fault(call: Call, tag: string, { value, error }: Settled<readonly object[]>): string | undefined {
  if (value === undefined) {
    return error instanceof DatabaseUnavailableError ? undefined : `${tag}: an error of another kind: ${error}`
  }
  const expected = JSON.stringify(call.rows(tag))
  return JSON.stringify(value) === expected ? undefined : `${tag}: other rows: ${JSON.stringify(value).slice(0, 200)}`
}

/** Runs a call with one cut, and the same call again without a cut. @returns what is wrong */
async function throughCut({ proxy, database }: Lane, call: Call, cut: Cut): Promise<string[]> {
  const tag = `${call.name} ${cut.direction} ${cut.how} ${cut.connections} ${cut.bytes}`
  await proxy.cutAfter(cut)
  const begunMs = performance.now()
  const first = await settled(call.run(database, tag))
  const tookMs = performance.now() - begunMs
  await proxy.disarm()
  const faults = [fault(call, tag, first)]
  // A cut after the last byte of the call affects the next one, which may fail. The one after it must succeed.
  let next: Settled<readonly object[]> = { error: undefined }
  for (const again of ['next', 'last']) {
    if (next.value !== undefined) continue
    next = await settled(call.run(database, `${tag} ${again}`))
    faults.push(fault(call, `${tag} ${again}`, next))
  }
  if (next.value === undefined) faults.push(`${tag}: the next call failed: ${String(next.error)}`)
  if (tookMs > DEADLINE_MS + 1_000) faults.push(`${tag}: settled after ${Math.round(tookMs)} ms`)
  return faults.filter(text => text !== undefined)
}

/** Bytes of one call in each direction, on a new connection and on an open one. */
async function measure({ proxy, database }: Lane, call: Call) {
  const connected = async (tag: string) => {
    const before = (await proxy.stats()).connections
    await call.run(database, tag)
    const after = (await proxy.stats()).connections
    const last = after.at(-1) ?? { toClient: 0, toServer: 0 }
    const same = before.length === after.length ? before.at(-1) : undefined
    return { to_client: last.toClient - (same?.toClient ?? 0), to_server: last.toServer - (same?.toServer ?? 0) }
  }
  await settled(call.run(database, `${call.name} clears the pool`))
  await proxy.reset()
  await new Promise(resolve => setTimeout(resolve, 50))
  return { next: await connected(`${call.name} new`), present: await connected(`${call.name} open`) }
}

/** At most `count` numbers from 0 to `bytes`, evenly spread, both ends included. */
function spread(bytes: number, count: number): number[] {
  const step = Math.max(1, bytes / (count - 1))
  const points = Array.from({ length: count }, (_, i) => Math.round(i * step))
  return [...new Set(points.filter(point => point < bytes)), bytes]
}

function openSockets(): number {
  return readdirSync('/proc/self/fd').filter(fd => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith('socket:')
    } catch {
      // Closed after it was listed.
      return false
    }
  }).length
}

/** Waits until the given number of sockets is open. The time-out of the test bounds it. */
async function untilSockets(count: number): Promise<void> {
  while (openSockets() > count) await new Promise(resolve => setTimeout(resolve, 20))
}

/** The number of cuts in each direction. The lanes run concurrently. */
const cases = [
  { tls: false, delayMs: 0, points: 100 },
  { tls: true, delayMs: 0, points: 60 },
  { tls: false, delayMs: 10, points: 12 },
  { tls: true, delayMs: 10, points: 12 },
  { tls: false, delayMs: 75, points: 4 },
  { tls: true, delayMs: 75, points: 4 }
]
const LANES = 8

for (const { tls, delayMs, points } of cases) {
  const name = `${tls ? 'TLS and SCRAM' : 'plain'} at ${2 * delayMs} ms`
  t.test(`${name}: a call whose connection is cut at any byte has its own rows or a typed error`, async t => {
    const postgres = await startTestPostgres(t, { tls })
    const sockets = openSockets()
    const lanes = await Promise.all(Array.from({ length: LANES }, () => openLane(t, postgres, delayMs, 1)))
    const [first] = lanes
    if (!first) throw new Error('there is no lane')
    await first.database.run(sql => sql`create table written (tag text primary key)`)

    const cuts: { call: Call; cut: Cut }[] = []
    for (const call of calls) {
      const bytes = await measure(first, call)
      for (const connections of ['next', 'present'] as const) {
        for (const direction of ['to_client', 'to_server'] as const) {
          const at = spread(bytes[connections][direction], process.env.CUT_EVERY_BYTE ? 1_000_000 : points)
          for (const how of ['reset', 'end'] as const) {
            const chosen = at.filter((_, i) => process.env.CUT_EVERY_BYTE || (i % 2 === 0) === (how === 'reset'))
            cuts.push(...chosen.map(bytes => ({ call, cut: { bytes, direction, connections, how } })))
          }
        }
      }
    }
    const faults: string[] = []
    const waiting = [...cuts]
    const work = async (lane: Lane) => {
      for (let next = waiting.shift(); next; next = waiting.shift()) {
        if (next.cut.connections === 'next') await lane.proxy.reset()
        faults.push(...(await throughCut(lane, next.call, next.cut)))
      }
    }
    await Promise.all(lanes.map(work))
    t.comment(`${cuts.length} cuts`)
    t.strictSame(faults, [])

    const halves = await first.database.run(
      sql => sql`
        select tag from written one where tag not like '% again'
          and not exists (select from written two where two.tag = one.tag || ' again')`
    )
    t.strictSame([...halves], [], 'every transaction is committed completely or not at all')
    await Promise.all(lanes.map(({ database }) => database.close(0)))
    await Promise.all(lanes.map(({ proxy }) => proxy.close()))
    await untilSockets(sockets)
  })
}

/** Calls that share connections. The last one has no parameters, so the driver pipelines it after another one. */
const shared: Call[] = [
  ...calls,
  {
    name: 'pipelined',
    run: (database, tag) =>
      database.run(sql => sql.unsafe(`select '${tag}'::text as tag, i from generate_series(1, ${ROWS}) i`), {
        deadlineMs: DEADLINE_MS
      }),
    rows: numbered
  }
]

/** Runs each call `times` times at once. @returns what is wrong, and the number of failed calls */
async function batch(database: Database, tag: string, times: number): Promise<{ faults: string[]; failed: number }> {
  const ends = await Promise.all(
    Array.from({ length: times }, (_, i) =>
      shared.map(async call => {
        const own = `${tag} ${call.name} ${i}`
        const end = await settled(call.run(database, own))
        return { fault: fault(call, own, end), failed: end.value === undefined }
      })
    ).flat()
  )
  return {
    faults: ends.flatMap(end => end.fault ?? []),
    failed: ends.filter(({ failed }) => failed).length
  }
}

for (const { tls, delayMs, points } of cases) {
  const name = `${tls ? 'TLS and SCRAM' : 'plain'} at ${2 * delayMs} ms`

  t.test(`${name}: calls that share an exhausted pool have their own rows or a typed error`, async t => {
    const postgres = await startTestPostgres(t, { tls })
    const lanes = await Promise.all([1, 2, 3, 4].map(() => openLane(t, postgres, delayMs, 2)))
    const [first] = lanes
    if (!first) throw new Error('there is no lane')
    // With a higher delay more calls than these would miss their deadlines without a cut.
    const times = delayMs < 50 ? 3 : 1
    await first.database.run(sql => sql`create table written (tag text primary key)`)
    for (const { database } of lanes)
      await batch(database, `warm up ${lanes.findIndex(lane => lane.database === database)}`, times)
    const bytesOf = async () => (await first.proxy.stats()).connections.at(-1) ?? { toClient: 0, toServer: 0 }
    const before = await bytesOf()
    t.strictSame(await batch(first.database, 'measured', times), { faults: [], failed: 0 })
    const after = await bytesOf()
    const bytes = { to_client: after.toClient - before.toClient, to_server: after.toServer - before.toServer }

    const cuts = (['to_client', 'to_server'] as const).flatMap(direction =>
      spread(bytes[direction], Math.max(4, Math.ceil(points / 2))).map((at, i) => ({
        bytes: at,
        direction,
        connections: 'present' as const,
        how: i % 2 === 0 ? ('reset' as const) : ('end' as const)
      }))
    )
    const faults: string[] = []
    let failed = 0
    const waiting = [...cuts]
    await Promise.all(
      lanes.map(async ({ proxy, database }) => {
        for (let cut = waiting.shift(); cut; cut = waiting.shift()) {
          const tag = `${cut.direction} ${cut.how} ${cut.bytes}`
          await proxy.cutAfter(cut)
          const hit = await batch(database, tag, times)
          await proxy.disarm()
          // A cut after the last byte of the batch affects the next one.
          const next = await batch(database, `${tag} next`, times)
          const last = await batch(database, `${tag} last`, times)
          failed += hit.failed
          faults.push(...hit.faults, ...next.faults, ...last.faults)
          if (last.failed > 0) faults.push(`${tag}: ${last.failed} calls failed without a cut`)
        }
      })
    )
    t.comment(`${cuts.length} cuts, ${failed} calls failed`)
    t.strictSame(faults, [])
    t.ok(failed > 0, `calls failed because of cuts: ${failed}`)
  })

  t.test(`${name}: a listener whose connection is cut at any byte listens again`, async t => {
    const postgres = await startTestPostgres(t, { tls })
    const direct = new Database({ max: 1, applicationName: 'test', log: captureLog().logger })
    direct.open(postgres.url)
    t.teardown(() => direct.close(0))
    const lanes = await Promise.all(Array.from({ length: LANES }, () => openLane(t, postgres, delayMs, 1)))
    const cuts = (['to_client', 'to_server'] as const).flatMap(direction =>
      // The bytes of TCP, TLS, SCRAM and LISTEN together.
      spread(direction === 'to_client' ? (tls ? 4_000 : 800) : tls ? 1_500 : 400, Math.min(points, 30)).map(
        (bytes, i) => ({ bytes, direction, how: i % 2 === 0 ? ('reset' as const) : ('end' as const) })
      )
    )
    const waiting = [...cuts]
    let notified = 0
    await Promise.all(
      lanes.map(async ({ proxy }, lane) => {
        const channel = `tests_${lane}`
        let listening = () => {}
        let arrived = () => {}
        const listener = new Listener({
          url: proxy.url(postgres.url),
          channel,
          applicationName: 'test',
          log: captureLog().logger,
          onNotification: () => arrived(),
          listening: () => listening()
        })
        t.teardown(() => listener.close())
        for (let cut = waiting.shift(); cut; cut = waiting.shift()) {
          await proxy.cutAfter({ ...cut, connections: 'next' })
          const notification = new Promise<void>(resolve => {
            arrived = resolve
          })
          // LISTEN may succeed before the cut, and is then executed twice. A notification must arrive each time.
          listening = () => void settled(direct.run(sql => sql`select pg_notify(${channel}, '')`))
          listener.restart()
          await notification
          notified++
        }
      })
    )
    t.equal(notified, cuts.length, 'a notification arrived after each cut')
  })
}
