// @FEAT:health-monitoring @COMP:route @TYPE:core
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { languageOf, message } from '../../src/messages.ts'
import type { JobStatus } from '../../src/scheduler/status.ts'
import { Timestamp } from '../timestamp.ts'
import { closed, errors, nullable, Reason, refuse } from './schemas.ts'

const JobSchema = Type.Object(
  {
    id: Type.String(),
    name: Type.String(),
    next_run_time: nullable(Timestamp),
    trigger: Type.String({ examples: ['interval[0:00:29]'] }),
    paused: Type.Boolean(),
    paused_by: Type.Optional(nullable(Type.String())),
    paused_reason: Type.Optional(nullable(Type.String())),
    overdue: Type.Boolean(),
    running: nullable(Type.Object({ run_id: Type.String(), started_at: Timestamp, instance: Type.String() }, closed)),
    last_run: nullable(
      Type.Object(
        {
          run_id: Type.String(),
          outcome: Type.String(),
          started_at: Timestamp,
          duration_ms: nullable(Type.Integer())
        },
        closed
      )
    )
  },
  closed
)

const StatusSchema = Type.Object(
  {
    success: Type.Literal(true),
    scheduler_running: Type.Boolean(),
    status: Type.Object(
      {
        is_running: Type.Boolean(),
        jobs_count: Type.Integer(),
        last_check: nullable(Timestamp),
        stopped: Type.Optional(
          Type.Object(
            {
              by: nullable(Type.String()),
              at: Timestamp,
              reason: nullable(Type.String()),
              resumes_at: nullable(Timestamp)
            },
            { ...closed, description: 'only while the scheduler is stopped' }
          )
        ),
        jobs: Type.Array(JobSchema)
      },
      closed
    )
  },
  closed
)

const MAX_STOP_MINUTES = 7 * 24 * 60

const ControlSchema = Type.Object(
  {
    action: Type.Union([Type.Literal('start'), Type.Literal('stop'), Type.Literal('restart')]),
    reason: Type.Optional(Reason),
    for_minutes: Type.Optional(
      Type.Integer({ minimum: 1, maximum: MAX_STOP_MINUTES, description: 'a stop ends by itself after these' })
    )
  },
  { ...closed, examples: [{ action: 'stop', reason: 'exchange maintenance', for_minutes: 30 }] }
)

/** The clock of the cluster: what it does, and an admin's hand on it. */
const routes: FastifyPluginAsyncTypebox = async app => {
  const { scheduler } = app
  const tags = ['health-monitoring']

  app.get(
    '/scheduler-status',
    {
      schema: {
        tags,
        summary: 'The scheduler and its jobs',
        response: { 200: StatusSchema, ...errors(401, 403, 503) }
      }
    },
    async (_request, reply) => {
      const { running, stopped, lastCheck, jobs } = await scheduler.status()
      return reply.code(200).send({
        success: true,
        scheduler_running: running,
        status: {
          is_running: running,
          jobs_count: jobs.length,
          last_check: lastCheck?.toISOString() ?? null,
          ...(stopped && {
            stopped: {
              by: stopped.by,
              at: stopped.at.toISOString(),
              reason: stopped.reason,
              resumes_at: stopped.resumesAt?.toISOString() ?? null
            }
          }),
          jobs: jobs.map(jobBody)
        }
      })
    }
  )

  app.post(
    '/scheduler-control',
    {
      schema: {
        tags,
        summary: 'Start, stop or restart the scheduler of the cluster',
        body: ControlSchema,
        response: {
          200: Type.Object(
            { success: Type.Literal(true), message: Type.String(), scheduler_running: Type.Boolean() },
            closed
          ),
          ...errors(400, 401, 403, 503)
        }
      }
    },
    async (request, reply) => {
      const { action, reason, for_minutes: forMinutes } = request.body
      const language = languageOf(request.headers['accept-language'])
      if (forMinutes !== undefined && action !== 'stop') throw refuse('for_minutes', language)
      const { running } = await scheduler.control(
        action,
        { actor: request.admin.username, reason, forMinutes },
        async tx => request.audit.succeeded(tx)
      )
      return reply
        .code(200)
        .send({ success: true, message: message(`scheduler.${action}`, language), scheduler_running: running })
    }
  )
}

function jobBody({ job, nextRunTime, paused, pausedBy, pausedReason, overdue, running, lastRun }: JobStatus) {
  return {
    id: job.id,
    name: job.name,
    next_run_time: nextRunTime?.toISOString() ?? null,
    trigger: job.trigger.text,
    paused,
    ...(paused && { paused_by: pausedBy, paused_reason: pausedReason }),
    overdue,
    running: running && {
      run_id: running.runId,
      started_at: running.startedAt.toISOString(),
      instance: running.instance
    },
    last_run: lastRun && {
      run_id: lastRun.runId,
      outcome: lastRun.outcome,
      started_at: lastRun.startedAt.toISOString(),
      duration_ms: lastRun.durationMs
    }
  }
}

export default routes
