// A plain Fastify route with a response schema, and one that queries the database for each request.
import Fastify from 'fastify'
import postgres from 'postgres'

const timestamped = (status: string) => ({
  type: 'object',
  properties: { status: { type: 'string', const: status }, timestamp: { type: 'string' } }
})

const app = Fastify()
app.get('/health/live', { schema: { response: { 200: timestamped('alive') } } }, async (_request, reply) => {
  reply.header('cache-control', 'no-store')
  return { status: 'alive', timestamp: new Date().toISOString() }
})

if (process.env.DATABASE_URL) {
  const sql = postgres(process.env.DATABASE_URL)
  app.get('/health/ready', { schema: { response: { 200: timestamped('ready') } } }, async (_request, reply) => {
    await sql`select 1`
    reply.header('cache-control', 'no-store')
    return { status: 'ready', timestamp: new Date().toISOString() }
  })
}

await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) })
