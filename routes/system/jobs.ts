// @FEAT:health-monitoring @COMP:route @TYPE:core
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type Static, Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import { ServiceError } from '../../src/errors.ts'
import { languageOf, message } from '../../src/messages.ts'
import type { RunResult } from '../../src/scheduler/run.ts'
import type { RunRecord } from '../../src/scheduler/run-history.ts'
import { Timestamp } from '../timestamp.ts'
import { closed, errors, nullable, Reason, refuse } from './schemas.ts'

/** A request waits for its run for so long. */
const WAIT_MS = 25_000

const RunId = Type.String({ format: 'uuid' })
const JobId = Type.String({ minLength: 1, maxLength: 64 })
const Counts = Type.Record(Type.String(), Type.Union([Type.Number(), Type.String(), Type.Boolean(), Type.Null()]), {
  description: 'what the run found and did'
})
const Outcome = Type.Union([
  Type.Literal('running'),
  Type.Literal('succeeded'),
  Type.Literal('failed'),
  Type.Literal('abandoned'),
  Type.Literal('skipped')
])

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
    error: nullable(Type.String())
  },
  closed
)

const TriggerSchema = Type.Object(
  {
    job_type: Type.String({ minLength: 1, maxLength: 64 }),
    wait: Type.Optional(Type.Boolean({ description: 'answer when the run has ended, true unless given' })),
    unless_run_within_seconds: Type.Optional(Type.Integer({ minimum: 1, maximum: 86_400 })),
    date: Type.Optional(Type.String({ format: 'date', description: 'only for a job of a day: one that is over' }))
  },
  { ...closed, examples: [{ job_type: 'housekeeping', unless_run_within_seconds: 60 }] }
)

const Said = { success: Type.Literal(true), message: Type.String() }

/** Jobs one by one: run them, pause them, and read what they did. */
const routes: FastifyPluginAsyncTypebox = async app => {
  const { scheduler } = app
  const tags = ['health-monitoring']

  app.post(
    '/trigger-job',
    {
      schema: {
        tags,
        summary: 'Run a job now',
        body: TriggerSchema,
        response: {
          200: Type.Object(
            {
              ...Said,
              run_id: RunId,
              skipped: Type.Optional(Type.Literal(true)),
              outcome: Type.Literal('succeeded'),
              duration_ms: Type.Integer(),
              result: Counts
            },
            closed
          ),
          202: Type.Object({ ...Said, run_id: RunId }, closed),
          ...errors(400, 401, 403, 404, 409, 500, 503)
        }
      }
    },
    async (request, reply) => {
      const { job_type, wait = true, unless_run_within_seconds: unlessRunWithinSeconds, date } = request.body
      const language = languageOf(request.headers['accept-language'])
      const job = scheduler.jobOfType(job_type)
      if (!job) throw new ServiceError('JOB_NOT_FOUND')
      if (date !== undefined && !scheduler.takesDate(job, date)) throw refuse('date', language)

      const { id: requestId, admin } = request
      const triggered = await scheduler.trigger(job, { actor: admin.username, requestId, date, unlessRunWithinSeconds })
      if (triggered.kind === 'recent') {
        const { runId, durationMs, result } = triggered.run
        return reply.code(200).send({
          success: true,
          message: message('job.recent', language),
          run_id: runId,
          skipped: true,
          outcome: 'succeeded',
          duration_ms: durationMs ?? 0,
          result: result ?? {}
        })
      }
      const { runId, finished } = triggered.run
      const ended = wait ? await within(finished, WAIT_MS) : undefined
      if (!ended) {
        return reply
          .code(202)
          .header('location', `/api/system/job-runs/${runId}`)
          .send({ success: true, message: message('job.started', language), run_id: runId })
      }
      if (ended.outcome !== 'succeeded') {
        throw new ServiceError('JOB_FAILED', { extra: { run_id: runId }, cause: failureOf(ended) })
      }
      return reply.code(200).send({
        success: true,
        message: message('job.succeeded', language),
        run_id: runId,
        outcome: 'succeeded',
        duration_ms: ended.durationMs,
        result: ended.result
      })
    }
  )

  for (const [verb, paused, done] of [
    ['pause', true, 'job.paused'],
    ['resume', false, 'job.resumed']
  ] as const) {
    app.post(
      `/jobs/:job_id/${verb}`,
      {
        schema: {
          tags,
          summary: `${paused ? 'Pause' : 'Resume'} one job in the whole cluster`,
          params: Type.Object({ job_id: JobId }, closed),
          body: Type.Optional(nullable(Type.Object({ reason: Type.Optional(Reason) }, closed))),
          response: {
            200: Type.Object({ ...Said, job_id: Type.String(), paused: Type.Boolean() }, closed),
            ...errors(400, 401, 403, 404, 503)
          }
        }
      },
      async (request, reply) => {
        const { job_id } = request.params
        await scheduler.setPaused(
          job_id,
          paused,
          { actor: request.admin.username, reason: reasonOf(request) },
          async tx => request.audit.succeeded(tx)
        )
        const language = languageOf(request.headers['accept-language'])
        return reply.code(200).send({ success: true, message: message(done, language), job_id, paused })
      }
    )
  }

  app.get(
    '/job-runs',
    {
      schema: {
        tags,
        summary: 'What the jobs did, newest first',
        querystring: Type.Object(
          {
            job_id: Type.Optional(JobId),
            outcome: Type.Optional(Outcome),
            limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 200, description: '50 unless given' })),
            before: Type.Optional(Type.String({ format: 'uuid', description: 'a run: only what began before it' }))
          },
          closed
        ),
        response: {
          200: Type.Object(
            { success: Type.Literal(true), runs: Type.Array(RunSchema), next_before: nullable(RunId) },
            closed
          ),
          ...errors(400, 401, 403, 503)
        }
      }
    },
    async (request, reply) => {
      const { job_id: jobId, outcome, before, limit = 50 } = request.query
      const runs = await scheduler.runs({ jobId, outcome, before, limit })
      const next_before = runs.length === limit ? (runs.at(-1)?.runId ?? null) : null
      return reply.code(200).send({ success: true, runs: runs.map(runBody), next_before })
    }
  )

  app.get(
    '/job-runs/:run_id',
    {
      schema: {
        tags,
        summary: 'One run, with its progress',
        params: Type.Object({ run_id: RunId }, closed),
        response: {
          200: Type.Object({ success: Type.Literal(true), run: RunSchema }, closed),
          ...errors(400, 401, 403, 404, 503)
        }
      }
    },
    async (request, reply) => {
      const run = await scheduler.runById(request.params.run_id)
      return reply.code(200).send({ success: true, run: runBody(run) })
    }
  )
}

/** Resolves with the promise's value, or with undefined when it is not there in time. */
async function within<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>(resolve => {
    timer = setTimeout(resolve, ms, undefined)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

function failureOf(ended: RunResult): string {
  return ended.outcome === 'failed' ? ended.errorCode : ended.outcome
}

function runBody(run: RunRecord): Static<typeof RunSchema> {
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
    error: run.errorCode
  }
}

function reasonOf({ body }: Pick<FastifyRequest, 'body'>): string | undefined {
  const given: unknown = typeof body === 'object' && body !== null && 'reason' in body ? body.reason : undefined
  return typeof given === 'string' ? given : undefined
}

export default routes
