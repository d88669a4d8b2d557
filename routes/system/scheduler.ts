// @FEAT:health-monitoring @COMP:route @TYPE:core
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type Static, Type } from '@sinclair/typebox'
import { invalidField } from '../../src/errors.ts'
import { message } from '../../src/messages.ts'
import { MAX_STOP_MINUTES } from '../../src/scheduler/scheduler-stop.ts'
import type { JobStatus, SchedulerStatus } from '../../src/scheduler/status.ts'
import type { Handler } from '../handler.ts'
import { closed, errors, nullable, Reason, Timestamp } from '../schemas.ts'

const tags = ['health-monitoring']

const JobSchema = Type.Object(
  {
    id: Type.String(),
    name: Type.String(),
    next_run_time: nullable(Timestamp),
    trigger: Type.String(),
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

const StoppedSchema = Type.Object(
  { by: nullable(Type.String()), at: Timestamp, reason: nullable(Type.String()), resumes_at: nullable(Timestamp) },
  { ...closed, description: 'only while the scheduler is stopped' }
)

const StatusSchema = Type.Object(
  {
    is_running: Type.Boolean(),
    jobs_count: Type.Integer(),
    last_check: nullable(Timestamp),
    runners: nullable(Type.Integer({ description: 'replicas that may run scheduled jobs; null while unknown' })),
    stopped: Type.Optional(StoppedSchema),
    jobs: Type.Array(JobSchema)
  },
  closed
)

const jobExample = {
  id: 'update_open_orders',
  name: 'Update Open Orders Status',
  next_run_time: '2026-11-23T12:00:29.000Z',
  trigger: 'interval[0:00:29]',
  paused: false,
  overdue: false,
  running: null,
  last_run: {
    run_id: '0199e3a0-5c1b-7d2e-9f40-3b6a8c2d1e5f',
    outcome: 'succeeded',
    started_at: '2026-11-23T12:00:00.012Z',
    duration_ms: 812
  }
}

const statusExample = {
  success: true,
  scheduler_running: true,
  status: { is_running: true, jobs_count: 1, last_check: '2026-11-23T12:00:00.000Z', runners: 2, jobs: [jobExample] }
}

const statusSchema = {
  tags,
  summary: 'The scheduler and its jobs',
  response: {
    200: Type.Object(
      { success: Type.Literal(true), scheduler_running: Type.Boolean(), status: StatusSchema },
      { ...closed, examples: [statusExample] }
    ),
    ...errors(401, 403, 503)
  }
}

const controlSchema = {
  tags,
  summary: 'Start, stop or restart the scheduler of the cluster',
  body: Type.Object(
    {
      action: Type.Union([Type.Literal('start'), Type.Literal('stop'), Type.Literal('restart')]),
      reason: Type.Optional(Reason),
      for_minutes: Type.Optional(
        Type.Integer({
          minimum: 1,
          maximum: MAX_STOP_MINUTES,
          description: 'only with `stop`: the scheduler starts again after this time'
        })
      )
    },
    { ...closed, examples: [{ action: 'stop', reason: 'exchange maintenance', for_minutes: 30 }] }
  ),
  response: {
    200: Type.Object(
      { success: Type.Literal(true), message: Type.String(), scheduler_running: Type.Boolean() },
      { ...closed, examples: [{ success: true, message: '스케줄러가 중지되었습니다', scheduler_running: false }] }
    ),
    ...errors(400, 401, 403, 503)
  }
}

/** The scheduler of the cluster: its status, and starting and stopping it. */
const routes: FastifyPluginAsyncTypebox = async app => {
  app.get('/scheduler-status', { schema: statusSchema }, status)
  app.post('/scheduler-control', { schema: controlSchema }, control)
}

const status: Handler<typeof statusSchema> = async ({ server }, reply) => {
  const status = await server.scheduler.status()
  return reply.code(200).send({ success: true, scheduler_running: status.running, status: statusBody(status) })
}

const control: Handler<typeof controlSchema> = async (request, reply) => {
  const { server, language, caller, audit } = request
  const { action, reason, for_minutes: forMinutes } = request.body
  if (forMinutes !== undefined && action !== 'stop') throw invalidField('/body/for_minutes', language)
  const options = { actor: caller.name, reason, forMinutes }
  const { running } = await server.scheduler.control(action, options, async tx => audit.succeeded(tx))
  const text = message(`scheduler.${action}`, language)
  return reply.code(200).send({ success: true, message: text, scheduler_running: running })
}

function statusBody({ running, stopped, lastCheck, runners, jobs }: SchedulerStatus): Static<typeof StatusSchema> {
  return {
    is_running: running,
    jobs_count: jobs.length,
    last_check: lastCheck?.toISOString() ?? null,
    runners,
    ...(stopped && { stopped: stoppedBody(stopped) }),
    jobs: jobs.map(jobBody)
  }
}

function stoppedBody({ by, at, reason, resumesAt }: NonNullable<SchedulerStatus['stopped']>) {
  return { by, at: at.toISOString(), reason, resumes_at: resumesAt?.toISOString() ?? null }
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
