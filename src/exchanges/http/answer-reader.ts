// @FEAT:exchanges @COMP:service @TYPE:helper

import type { Dispatcher } from 'undici'
import { yieldToEventLoop } from '../../async/yield.ts'
import type { Millis } from '../../domain/millis.ts'
import { parseLossless, UnreadableAnswer } from './answer-fields.ts'
import type { Answer, HeaderReader } from './exchange-call.ts'
import type { RowReader } from './row-reader.ts'

const MAX_BODY_BYTES = 4 * 1024 * 1024
/** Characters of a refusal that is not JSON. */
const MAX_PAGE = 4_096
const MAX_ROWS_BYTES = 64 * 1024 * 1024
/** Work on arrived chunks before other events are processed. */
const SLICE_MS = 4

export interface AnswerRequest {
  origin: string
  method: 'GET'
  /** With its query. */
  path: string
  headers: Readonly<Record<string, string>>
  signal: AbortSignal
}

/** The status and headers of an answer whose body was not read yet. */
export interface AnswerHead {
  status: number
  header: HeaderReader
  /** By the clock of this machine, the middle between request and answer. */
  askedAt: Millis
  /** From the request to the headers of its answer. */
  tookMs: Millis
  body: AsyncIterable<Buffer>
}

/**
 * Sends a request. The body must then be read, or the request aborted.
 *
 * @param now our wall clock
 * @throws errors of undici and of the network, and the signal's reason
 */
export async function sendRequest(
  dispatcher: Dispatcher,
  { headers, ...request }: AnswerRequest,
  now: () => Millis
): Promise<AnswerHead> {
  const sentAt = now()
  const answer = await dispatcher.request({
    ...request,
    headers: { accept: 'application/json', 'user-agent': 'trading-health', ...headers }
  })
  const tookMs = now() - sentAt
  const header = (name: string) => {
    const value = answer.headers[name]
    return (Array.isArray(value) ? value[0] : value) ?? null
  }
  return { status: answer.statusCode, header, askedAt: sentAt + tookMs / 2, tookMs, body: answer.body }
}

/**
 * Reads the body of an answer: at most 4 MiB, or 64 MiB row by row.
 *
 * @param rows makes the reader for the rows of an answer with status 200
 * @throws {UnreadableAnswer} when it is too large, or when its status is 200 and it is not JSON
 */
export async function readAnswer(head: AnswerHead, rows: (() => RowReader) | undefined): Promise<Answer> {
  const { status, header, askedAt, body } = head
  const reader = status === 200 ? rows?.() : undefined
  const text = reader === undefined ? await readText(body) : await readRows(reader, body)
  const parsed = status === 200 ? parseLossless(text) : parsedOrNull(text)
  return { status, header, askedAt, body: parsed, page: parsed === null ? text.slice(0, MAX_PAGE) : null }
}

async function readText(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of body) {
    bytes += chunk.length
    if (bytes > MAX_BODY_BYTES) throw new UnreadableAnswer('larger than 4 MiB')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, bytes).toString('utf8')
}

/** Returns the envelope without its rows. */
async function readRows(reader: RowReader, body: AsyncIterable<Buffer>): Promise<string> {
  let bytes = 0
  let spentMs = 0
  for await (const chunk of body) {
    bytes += chunk.length
    if (bytes > MAX_ROWS_BYTES) throw new UnreadableAnswer('larger than 64 MiB')
    const startedAt = performance.now()
    reader.push(chunk)
    spentMs += performance.now() - startedAt
    if (spentMs >= SLICE_MS) {
      await yieldToEventLoop()
      spentMs = 0
    }
  }
  return reader.end()
}

function parsedOrNull(text: string): unknown {
  try {
    return parseLossless(text)
  } catch {
    // A refusal in HTML or plain text.
    return null
  }
}
