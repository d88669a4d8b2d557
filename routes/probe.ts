// @FEAT:health-monitoring @COMP:route @TYPE:helper
import type { TSchema } from '@sinclair/typebox'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type ProbePath, probes } from '../src/health/probes.ts'

/**
 * Adds a probe route with the answer of the probe port. The answer is sent as text, without a serializer: the schemas
 * are documentation, and tests compare the answers with them.
 */
export function addProbe(
  app: Pick<FastifyInstance, 'get' | 'health'>,
  path: ProbePath,
  summary: string,
  response: { 200: TSchema; 503: TSchema }
): void {
  const { health } = app
  const { database } = probes[path]
  const schema = { tags: ['health-monitoring'], summary, security: [], response }
  app.get(path, { schema }, answerProbe)

  function answerProbe(_request: FastifyRequest, reply: FastifyReply) {
    const receivedMs = performance.now()
    if (!database || health.isFresh()) send(reply, receivedMs)
    else void health.refresh().then(() => send(reply, receivedMs))
  }

  function send(reply: FastifyReply, receivedMs: number) {
    const { status, body } = health.answer(path)
    reply.code(status).header('content-type', 'application/json; charset=utf-8').header('cache-control', 'no-store')
    reply.send(body)
    health.recordAnswer(path, status, performance.now() - receivedMs)
  }
}
