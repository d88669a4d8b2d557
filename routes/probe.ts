// @FEAT:health-monitoring @COMP:route @TYPE:helper

import type { TSchema } from '@sinclair/typebox'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { type ProbePath, probes } from '../src/health/probes.ts'

/**
 * Declares a probe route: the answer is the one that the probe port gives. It is sent as text, ready made, so the
 * schemas are its documentation; the tests hold the answers against them.
 */
export function probe(
  app: Pick<FastifyInstance, 'get' | 'health'>,
  path: ProbePath,
  summary: string,
  response: { 200: TSchema; 503: TSchema }
): void {
  const { health } = app
  const send = (reply: FastifyReply, askedMs: number) => {
    const { status, body } = health.answer(path)
    reply
      .code(status)
      .header('content-type', 'application/json; charset=utf-8')
      .header('cache-control', 'no-store')
      .send(body)
    health.count(path, status, performance.now() - askedMs)
  }
  const { database } = probes[path]
  app.get(path, { schema: { tags: ['health-monitoring'], summary, security: [], response } }, (_request, reply) => {
    const askedMs = performance.now()
    if (!database || health.isFresh()) send(reply, askedMs)
    else void health.ask().then(() => send(reply, askedMs))
  })
}
