// @FEAT:trading @COMP:route @TYPE:helper
import { Readable } from 'node:stream'
import { type TProperties, type TSchema, Type } from '@sinclair/typebox'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { USERNAME_PATTERN } from '../../src/auth/users.ts'
import { invalidField } from '../../src/errors.ts'
import type { Collection } from '../../src/trading/read/collection.ts'
import type { Column, ColumnKind } from '../../src/trading/read/column.ts'
import { cursorOf, type KeyType, MAX_CURSOR } from '../../src/trading/read/cursor.ts'
import { MOMENT_PATTERN } from '../../src/trading/read/moment.ts'
import { formatOf, type Query, readingOf } from '../../src/trading/read/request.ts'
import { headerOf, type Item, linesOf, type Reading, STREAM_PAGE } from '../../src/trading/read/trading-reader.ts'
import { closed, errors, nullable, Timestamp } from '../schemas.ts'

const DEFAULT_LIMIT = 100
const MAX_LIMIT = 500
/** Fits into 63 bits. */
const ID = '^[1-9][0-9]{0,17}$'
/** Without spaces and control characters. */
const WORD = '^[^\\u0000-\\u0020\\u007f]+$'
const KEY_EXAMPLES: Readonly<Record<KeyType, string>> = {
  bigint: '1',
  date: '2026-11-22',
  timestamptz: '2026-11-22T03:00:00.000000Z',
  text: 'USDT',
  boolean: 'false'
}

/** What the API document says about a collection. */
export interface Documentation {
  summary: string
  description?: string
  /** An item. */
  example: Item
}

/**
 * Adds the route of a collection, `GET /<name>`: its query, its items and its CSV follow from the collection. The whole of
 * what a collection needs is its definition and this call.
 */
export function addCollection(app: FastifyInstance, collection: Collection, documentation: Documentation): void {
  app.get(`/${collection.name}`, { schema: schemaOf(collection, documentation) }, readItems)

  async function readItems(request: FastifyRequest, reply: FastifyReply) {
    const { server, query, caller, language, headers } = request
    reply.header('vary', 'Accept')
    const format = formatOf(headers.accept)
    const reading = readingOf(collection, query as Query, caller, language)
    if (await isUnchanged(request, reply, reading, format)) return reply.code(304).send()
    if (format === 'csv') return sendCsv(request, reply, reading)
    const { asOf: as_of, items, next } = await server.tradingReader.page(reading, reading.limit ?? DEFAULT_LIMIT)
    return reply.code(200).send({ success: true, as_of, items, next_before: next })
  }
}

/**
 * Adds the version of the answer as its weak tag: `as_of` is different each time.
 * @returns whether the client has this version
 */
async function isUnchanged({ server, headers }: FastifyRequest, reply: FastifyReply, reading: Reading, format: string) {
  const limit = reading.limit ?? (format === 'json' ? DEFAULT_LIMIT : undefined)
  // Read before the items: if they change in between, the tag is that of a version before, and the client asks again.
  const version = await server.tradingReader.version({ ...reading, limit }, format)
  if (version === undefined) return false
  reply.header('etag', `W/"${version}"`)
  const known = headers['if-none-match'] ?? ''
  return known.trim() === '*' || known.split(',').some(tag => tag.trim().replace(/^W\//, '') === `"${version}"`)
}

/**
 * Sends the items as CSV: a page with a limit, or all of them, page by page as the client reads them. The first page is read
 * before the answer begins. A later failure ends the connection, before the last chunk of the answer.
 * @throws {ServiceError} VALIDATION_FAILED for all items by HTTP/1.0, whose clients take the end of the connection for that
 *   of the file
 */
async function sendCsv({ server, method, raw, language }: FastifyRequest, reply: FastifyReply, reading: Reading) {
  const { collection, limit } = reading
  if (limit === undefined && raw.httpVersion === '1.0') throw invalidField('/querystring/limit', language)
  const first = await server.tradingReader.page(reading, limit ?? STREAM_PAGE)
  reply.code(200).type('text/csv; charset=utf-8; header=present')
  reply.header('content-disposition', `attachment; filename="${collection.name}.csv"`)
  reply.header('as-of', first.asOf)
  if (limit !== undefined && first.next !== null) reply.header('next-before', first.next)
  if (limit !== undefined) return reply.send(headerOf(collection) + linesOf(collection, first))
  // A HEAD request would read all items to throw them away.
  const lines = method === 'HEAD' ? [] : server.tradingReader.csv(reading, first)
  return reply.send(Readable.from(lines, { highWaterMark: 1 }))
}

function schemaOf(collection: Collection, { summary, description, example }: Documentation) {
  const answer = Type.Object(
    {
      success: Type.Literal(true),
      as_of: Type.String({ ...Timestamp, description: 'the database time of the page' }),
      items: Type.Array(itemSchema(collection)),
      next_before: nullable(
        Type.String({
          description:
            'for `before` of the next page, also after a page with fewer items than `limit`; null on the last one'
        })
      )
    },
    {
      ...closed,
      examples: [{ success: true, as_of: '2026-11-23T12:00:00.000Z', items: [example], next_before: null }]
    }
  )
  const csv = Type.String({
    description: 'the items with a header, and without `limit` those of all pages',
    examples: [headerOf(collection) + linesOf(collection, { items: [example] })]
  })
  const content = { 'application/json': { schema: answer }, 'text/csv': { schema: csv } }
  return {
    tags: ['trading'],
    summary,
    ...(description !== undefined && { description }),
    querystring: querySchema(collection),
    response: {
      200: { description: 'Items', content },
      ...(collection.changedAt !== undefined && {
        304: Type.Null({ description: 'the items of `If-None-Match` are the present ones' })
      }),
      ...errors(400, 401, 403)
    }
  }
}

function querySchema({ name, key, time, currency, selectedBy }: Collection) {
  const moment = (description: string) =>
    Type.Optional(
      Type.String({
        pattern: MOMENT_PATTERN,
        description: `${description}: a time with its offset, or a day of TIME_ZONE, which is its beginning`,
        examples: ['2026-11-22']
      })
    )
  const properties: TProperties = {
    ...(time && { from: moment('from then on'), to: moment('before then') }),
    ...Object.fromEntries(
      selectedBy.map(id => [
        id,
        Type.Optional(Type.String({ pattern: ID, description: 'of this one', examples: ['1'] }))
      ])
    ),
    ...(currency && {
      currency: Type.Optional(
        Type.String({ maxLength: 40, pattern: WORD, description: currency.description, examples: ['USDT'] })
      )
    }),
    user: Type.Optional(
      Type.String({
        pattern: USERNAME_PATTERN,
        description: 'of the user of this name; default everyone, for the role `user` themselves',
        examples: ['alice']
      })
    ),
    limit: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: MAX_LIMIT,
        description: `items of the page; default ${DEFAULT_LIMIT}, and in CSV all`,
        examples: [100]
      })
    ),
    before: Type.Optional(
      Type.String({
        pattern: `^[A-Za-z0-9_-]{1,${MAX_CURSOR}}$`,
        description: `\`next_before\` of the previous page of ${name}`,
        examples: [
          cursorOf(
            name,
            key.map(([, type]) => KEY_EXAMPLES[type])
          )
        ]
      })
    )
  }
  return Type.Object(properties, closed)
}

function itemSchema({ columns }: Collection) {
  return Type.Object(
    Object.fromEntries(Object.entries(columns).map(([name, column]) => [name, columnSchema(column)])),
    closed
  )
}

const schemas: Record<ColumnKind, () => TSchema> = {
  id: () => Type.String({ pattern: '^[0-9]+$' }),
  text: () => Type.String(),
  amount: () => Type.String({ pattern: '^-?[0-9]+([.][0-9]+)?$' }),
  count: () => Type.Integer(),
  flag: () => Type.Boolean(),
  day: () => Type.String({ format: 'date' }),
  time: () => Type.String({ format: 'date-time' }),
  list: () => Type.Array(Type.Unknown())
}

function columnSchema({ kind, isNullable, description, values }: Column): TSchema {
  const plain = values ? Type.Union(values.map(value => Type.Literal(value))) : schemas[kind]()
  const schema = isNullable ? nullable(plain) : plain
  return description === undefined ? schema : { ...schema, description }
}
