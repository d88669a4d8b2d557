// @FEAT:health-monitoring @COMP:route @TYPE:core
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type Static, Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import { DeadlineError, withDeadline } from '../../src/async/deadline.ts'
import { invalidField, ServiceError } from '../../src/errors.ts'
import { type Language, message } from '../../src/messages.ts'
import { type Job, undoneOf } from '../../src/scheduler/job.ts'
import type { RunResult } from '../../src/scheduler/run.ts'
import type { RunRecord } from '../../src/scheduler/run-history.ts'
import type { Triggered } from '../../src/scheduler/scheduler.ts'
import type { Handler } from '../handler.ts'
import { closed, errors, nullable, Reason, Timestamp } from '../schemas.ts'

/** How long a request waits for the end of the run that it triggers. */
const MAX_WAIT_MS = 25_000
/** When a trigger may be repeated whose run failed because of the database, in seconds. */
const RETRY_AFTER = '5'
const DEFAULT_LIMIT = 50
const MAX_LIMIT = 200

const tags = ['health-monitoring']
const runIdExample = '0199e3a0-5c1b-7d2e-9f40-3b6a8c2d1e5f'
const RunId = Type.String({ format: 'uuid', examples: [runIdExample] })
const JobId = Type.String({ minLength: 1, maxLength: 64, examples: ['housekeeping'] })
const Counts = Type.Record(Type.String(), Type.Union([Type.Number(), Type.String(), Type.Boolean(), Type.Null()]), {
  description: 'the result of the run by the names of its counts'
})
const Outcome = Type.Union(
  [
    Type.Literal('running'),
    Type.Literal('succeeded'),
    Type.Literal('partial'),
    Type.Literal('failed'),
    Type.Literal('abandoned'),
    Type.Literal('skipped')
  ],
  { examples: ['failed'], description: '`partial`: the run ended, and not everything was done' }
)
const Undone = Type.Record(Type.String(), Type.Integer(), {
  description: 'only of a partial run: what it left undone, by reason'
})

const RunSchema = Type.Object(
  {
    run_id: RunId,
    job_id: Type.String(),
    trigger: Type.Union([Type.Literal('schedule'), Type.Literal('manual'), Type.Literal('catch_up')]),
    actor: nullable(Type.String()),
    instance: Type.String(),
    scheduled_for: nullable(Timestamp),
    started_at: Timestamp,
    finished_at: nullable(Timestamp),
    duration_ms: nullable(Type.Integer()),
    outcome: Outcome,
    progress: nullable(Type.Object({ done: Type.Integer(), total: Type.Integer() }, closed)),
    result: nullable(Counts),
    undone: Type.Optional(Undone),
    error: nullable(Type.String())
  },
  closed
)

const runExample = {
  run_id: runIdExample,
  job_id: 'update_open_orders',
  trigger: 'schedule',
  actor: null,
  instance: 'trading-health-7f9c-a1b2c3d4',
  scheduled_for: '2026-11-23T12:00:00.000Z',
  started_at: '2026-11-23T12:00:00.012Z',
  finished_at: '2026-11-23T12:00:00.824Z',
  duration_ms: 812,
  outcome: 'succeeded',
  progress: { done: 6, total: 6 },
  result: { accounts: 6, updated: 3 },
  error: null
}

const triggerSchema = {
  tags,
  summary: 'Run a job now',
  body: Type.Object(
    {
      job_type: Type.String({ minLength: 1, maxLength: 64 }),
      wait: Type.Optional(Type.Boolean({ description: 'answer when the run has ended; true by default' })),
      unless_run_within_seconds: Type.Optional(Type.Integer({ minimum: 1, maximum: 86_400 })),
      date: Type.Optional(
        Type.String({ format: 'date', description: 'a past day, for a job that calculates the values of one day' })
      )
    },
    { ...closed, examples: [{ job_type: 'housekeeping', unless_run_within_seconds: 60 }] }
  ),
  response: {
    200: Type.Object(
      {
        success: Type.Literal(true),
        message: Type.String(),
        run_id: RunId,
        skipped: Type.Optional(Type.Literal(true)),
        outcome: Type.Union([Type.Literal('succeeded'), Type.Literal('partial')]),
        duration_ms: Type.Integer(),
        result: Counts,
        undone: Type.Optional(Undone)
      },
      {
        ...closed,
        examples: [
          {
            success: true,
            message: '작업 완료',
            run_id: runIdExample,
            outcome: 'succeeded',
            duration_ms: 812,
            result: { sessions: 4, audit_log: 0 }
          },
          {
            success: true,
            message: '작업이 일부만 완료되었습니다',
            run_id: runIdExample,
            outcome: 'partial',
            duration_ms: 812,
            result: { accounts: 6, checked: 3, failed: 2 },
            undone: { failed: 2 }
          }
        ]
      }
    ),
    202: Type.Object(
      { success: Type.Literal(true), message: Type.String(), run_id: RunId },
      { ...closed, examples: [{ success: true, message: '작업이 시작되었습니다', run_id: runIdExample }] }
    ),
    ...errors(400, 401, 403, 404, 409, 500, 503)
  }
}

const pauseSchema = jobStateSchema('Pause one job in the whole cluster', true, '작업이 일시 중지되었습니다')
const resumeSchema = jobStateSchema('Resume one job in the whole cluster', false, '작업이 재개되었습니다')

function jobStateSchema(summary: string, paused: boolean, message: string) {
  return {
    tags,
    summary,
    params: Type.Object({ job_id: JobId }, closed),
    body: Type.Optional(
      Type.Union([Type.Object({ reason: Type.Optional(Reason) }, closed), Type.Null()], {
        examples: [{ reason: 'exchange maintenance' }]
      })
    ),
    response: {
      200: Type.Object(
        { success: Type.Literal(true), message: Type.String(), job_id: Type.String(), paused: Type.Boolean() },
        { ...closed, examples: [{ success: true, message, job_id: 'housekeeping', paused }] }
      ),
      ...errors(400, 401, 403, 404, 503)
    }
  }
}

const listRunsSchema = {
  tags,
  summary: 'The runs of all jobs, newest first',
  querystring: Type.Object(
    {
      job_id: Type.Optional(JobId),
      outcome: Type.Optional(Outcome),
      limit: Type.Optional(
        Type.Integer({ minimum: 1, maximum: MAX_LIMIT, default: DEFAULT_LIMIT, examples: [DEFAULT_LIMIT] })
      ),
      before: Type.Optional(
        Type.String({ format: 'uuid', description: '`next_before` of the previous page', examples: [runIdExample] })
      )
    },
    closed
  ),
  response: {
    200: Type.Object(
      { success: Type.Literal(true), runs: Type.Array(RunSchema), next_before: nullable(RunId) },
      { ...closed, examples: [{ success: true, runs: [runExample], next_before: null }] }
    ),
    ...errors(400, 401, 403, 503)
  }
}

const readRunSchema = {
  tags,
  summary: 'One run with its progress',
  params: Type.Object({ run_id: RunId }, closed),
  response: {
    200: Type.Object(
      { success: Type.Literal(true), run: RunSchema },
      { ...closed, examples: [{ success: true, run: runExample }] }
    ),
    ...errors(400, 401, 403, 404, 503)
  }
}

/** Single jobs: run, pause and resume them, and read their runs. */
const routes: FastifyPluginAsyncTypebox = async app => {
  app.post('/trigger-job', { schema: triggerSchema }, trigger)
  app.post('/jobs/:job_id/pause', { schema: pauseSchema }, pause)
  app.post('/jobs/:job_id/resume', { schema: resumeSchema }, resume)
  app.get('/job-runs', { schema: listRunsSchema }, listRuns)
  app.get('/job-runs/:run_id', { schema: readRunSchema }, readRun)
}

const trigger: Handler<typeof triggerSchema> = async (request, reply) => {
  const { language, body } = request
  const triggered = await triggerJob(request, body)
  if (triggered.kind === 'recent') return reply.code(200).send(recentBody(triggered.run, language))
  const { runId: run_id, finished, options } = triggered.run
  const end = (body.wait ?? true) ? await endWithin(finished, MAX_WAIT_MS) : undefined
  if (end) return reply.code(200).send(endBody(options.job, run_id, end, language))
  reply.header('location', `/api/system/job-runs/${run_id}`)
  return reply.code(202).send({ success: true, message: message('job.started', language), run_id })
}

/** @throws {ServiceError} JOB_NOT_FOUND, VALIDATION_FAILED, JOB_ALREADY_RUNNING, DRAINING */
async function triggerJob(
  { server: { scheduler }, id: requestId, caller, language }: FastifyRequest,
  { job_type, date, unless_run_within_seconds: unlessRunWithinSeconds }: Static<typeof triggerSchema.body>
): Promise<Triggered> {
  const job = scheduler.jobOfType(job_type)
  if (!job) throw new ServiceError('JOB_NOT_FOUND')
  if (date !== undefined && !scheduler.takesDate(job, date)) throw invalidField('/body/date', language)
  return scheduler.trigger(job, { actor: caller.name, requestId, date, unlessRunWithinSeconds })
}

/** The end of a run, or undefined when it is still running after `waitMs`. */
async function endWithin(finished: Promise<RunResult>, waitMs: number): Promise<RunResult | undefined> {
  try {
    return await withDeadline(finished, waitMs)
  } catch (err) {
    if (err instanceof DeadlineError) return undefined
    throw err
  }
}

function recentBody({ runId, durationMs, result }: RunRecord, language: Language) {
  return {
    success: true as const,
    message: message('job.recent', language),
    run_id: runId,
    skipped: true as const,
    outcome: 'succeeded' as const,
    duration_ms: durationMs ?? 0,
    result: result ?? {}
  }
}

/** @throws {ServiceError} JOB_FAILED, or DATABASE_UNAVAILABLE, when the run failed or lost its lease */
function endBody(job: Job, run_id: string, end: RunResult, language: Language) {
  if (!('result' in end)) {
    const cause = end.outcome === 'failed' ? end.errorCode : end.outcome
    // A run whose lease expired could not reach the database for as long as the lease lasts.
    if (cause === 'DATABASE_UNAVAILABLE' || end.outcome !== 'failed') {
      throw new ServiceError('DATABASE_UNAVAILABLE', { extra: { run_id }, headers: { 'retry-after': RETRY_AFTER } })
    }
    throw new ServiceError('JOB_FAILED', { extra: { run_id }, cause })
  }
  const { outcome, durationMs: duration_ms, result } = end
  const text = message(`job.${outcome}`, language)
  const undone = outcome === 'partial' ? { undone: undoneOf(job, result) } : {}
  return { success: true as const, message: text, run_id, outcome, duration_ms, result, ...undone }
}

const pause: Handler<typeof pauseSchema> = async (request, reply) => {
  const { job_id } = request.params
  await setPaused(request, job_id, true)
  const text = message('job.paused', request.language)
  return reply.code(200).send({ success: true, message: text, job_id, paused: true })
}

const resume: Handler<typeof resumeSchema> = async (request, reply) => {
  const { job_id } = request.params
  await setPaused(request, job_id, false)
  const text = message('job.resumed', request.language)
  return reply.code(200).send({ success: true, message: text, job_id, paused: false })
}

async function setPaused(request: FastifyRequest, jobId: string, paused: boolean): Promise<void> {
  const { server, caller, audit, body } = request
  const change = { actor: caller.name, reason: reasonIn(body) }
  await server.scheduler.setPaused(jobId, paused, change, async tx => audit.succeeded(tx))
}

const listRuns: Handler<typeof listRunsSchema> = async ({ server, query }, reply) => {
  const { job_id: jobId, outcome, before, limit = DEFAULT_LIMIT } = query
  const runs = await server.scheduler.runs({ jobId, outcome, before, limit })
  const next_before = runs.length === limit ? (runs.at(-1)?.runId ?? null) : null
  return reply
    .code(200)
    .send({ success: true, runs: runs.map(run => runBody(run, server.scheduler.jobs)), next_before })
}

const readRun: Handler<typeof readRunSchema> = async ({ server, params }, reply) => {
  const run = await server.scheduler.runById(params.run_id)
  return reply.code(200).send({ success: true, run: runBody(run, server.scheduler.jobs) })
}

function runBody(run: RunRecord, jobs: readonly Job[]): Static<typeof RunSchema> {
  const job = run.outcome === 'partial' ? jobs.find(({ id }) => id === run.jobId) : undefined
  return {
    run_id: run.runId,
    job_id: run.jobId,
    trigger: run.trigger,
    actor: run.actor,
    instance: run.instance,
    scheduled_for: run.scheduledFor?.toISOString() ?? null,
    started_at: run.startedAt.toISOString(),
    finished_at: run.finishedAt?.toISOString() ?? null,
    duration_ms: run.durationMs,
    outcome: run.outcome,
    progress: run.progress,
    result: run.result,
    ...(job && { undone: undoneOf(job, run.result ?? {}) }),
    error: run.errorCode
  }
}

function reasonIn(body: unknown): string | undefined {
  const reason = typeof body === 'object' && body !== null && 'reason' in body ? body.reason : undefined
  return typeof reason === 'string' ? reason : undefined
}

export default routes
