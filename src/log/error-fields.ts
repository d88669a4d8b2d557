import { types } from 'node:util'
import { redactMessage } from './redact.ts'

/** What the log has of an error. Every other property of an error is left out: a library may keep a secret in it. */
interface ErrorFields {
  /** The name of its class. */
  type: string
  /** Without the values that it quotes. */
  message: string
  /** The message, and the places in the code. */
  stack: string
  /** Code of the system or of Node, or SQLSTATE. */
  code?: string | number
  syscall?: string
  /** Of an error of Postgres. */
  constraint?: string
  /** Of an error of Postgres. */
  table?: string
  cause?: ErrorFields
  /** The parts of an `AggregateError`. */
  errors?: ErrorFields[]
}

/** Bounds of one log line. */
const MAX_DEPTH = 5
const MAX_PARTS = 10
const MAX_ERRORS = 30
const MAX_FRAMES = 30

const NAME = /^[A-Za-z_$][\w$]{0,63}$/
const CODE = /^[A-Za-z0-9_]{1,64}$/
const SYSCALL = /^[\w ]{1,64}$/
/** A line of a stack as V8 writes it. */
const FRAME =
  /^ {4}at (?:(?:async |new )*[\w$.<>[\] #]{1,160} \()?(?:async )?(?:index \d+|native|<anonymous>|(?:file:\/\/|node:|evalmachine|[A-Za-z]:[\\/]|\/)[^()\n]{0,400}(?::\d+){1,2})\)?$/

/** Results of `errorFields`, which a logger may pass to it again. */
const results = new WeakSet<object>()

/** Whether a value is an error, of any thread. Never throws. */
export function isError(value: unknown): value is Error {
  try {
    return types.isNativeError(value) || value instanceof Error
  } catch {
    return false
  }
}

/**
 * The fields of an error that may be logged, with those of its causes and parts: at most five levels and 30 errors. Of a
 * value that is not an error only its type is kept; undefined and null are returned. Never throws, whatever the
 * properties of the error do. Idempotent.
 */
export function errorFields(value: unknown): unknown {
  if (value === undefined || value === null || (typeof value === 'object' && results.has(value))) return value
  return fieldsOf(value, { depth: 0, seen: new Set() })
}

/**
 * The message of an error without the values that it quotes, for a person at a terminal. Never throws.
 * @returns for a value that is not an error, a sentence with its type
 */
export function errorMessage(value: unknown): string {
  const { message } = fieldsOf(value, { depth: MAX_DEPTH, seen: new Set() })
  return message
}

interface Walk {
  depth: number
  seen: Set<unknown>
}

function fieldsOf(err: unknown, { depth, seen }: Walk): ErrorFields {
  const type = typeOf(err)
  seen.add(err)
  if (!isError(err)) return kept({ type, message: 'a value that is not an error was thrown', stack: '' })
  const text = read(err, 'message')
  const message = typeof text === 'string' ? redactMessage(text) : ''
  const below = { depth: depth + 1, seen }
  const cause = read(err, 'cause')
  const goesOn = cause !== undefined && depth < MAX_DEPTH && seen.size < MAX_ERRORS && !seen.has(cause)
  const parts = depth < MAX_DEPTH ? partsOf(err, seen) : []
  return kept({
    type,
    message,
    stack: [message === '' ? type : `${type}: ${message}`, ...frames(read(err, 'stack'))].join('\n'),
    ...optional('code', codeOf(read(err, 'code'))),
    ...optional('syscall', matching(SYSCALL, read(err, 'syscall'))),
    ...optional('constraint', matching(NAME, read(err, 'constraint_name'))),
    ...optional('table', matching(NAME, read(err, 'table_name'))),
    ...(goesOn && { cause: fieldsOf(cause, below) }),
    ...(parts.length > 0 && { errors: parts.map(part => fieldsOf(part, below)) })
  })
}

function kept(fields: ErrorFields): ErrorFields {
  results.add(fields)
  return fields
}

/** The parts of an aggregate that are not logged yet. */
function partsOf(err: Error, seen: Set<unknown>): unknown[] {
  const errors = read(err, 'errors')
  if (!Array.isArray(errors)) return []
  const room = Math.max(0, Math.min(MAX_PARTS, MAX_ERRORS - seen.size))
  const parts: unknown[] = []
  // By index: a getter of one element may throw.
  for (let index = 0; index < errors.length && parts.length < room; index++) {
    const part = read(errors, index)
    if (isError(part) && !seen.has(part)) parts.push(part)
  }
  return parts
}

/** The class, by the prototype: an own property may hold anything. */
function typeOf(value: unknown): string {
  if (typeof value !== 'object' || value === null) return typeof value
  try {
    const maker: unknown = Object.getPrototypeOf(value)?.constructor
    return (typeof maker === 'function' ? matching(NAME, maker.name) : undefined) ?? 'Error'
  } catch {
    return 'Error'
  }
}

function frames(stack: unknown): string[] {
  if (typeof stack !== 'string') return []
  const lines = stack.slice(0, 64_000).split('\n')
  return lines.filter(line => FRAME.test(line)).slice(0, MAX_FRAMES)
}

function codeOf(code: unknown): string | number | undefined {
  return typeof code === 'number' && Number.isSafeInteger(code) ? code : matching(CODE, code)
}

function matching(pattern: RegExp, value: unknown): string | undefined {
  return typeof value === 'string' && pattern.test(value) ? value : undefined
}

function optional<K extends string, V>(key: K, value: V | undefined): Partial<Record<K, V>> {
  return value === undefined ? {} : ({ [key]: value } as Record<K, V>)
}

/** A property; undefined when its getter throws. */
function read(target: object, key: PropertyKey): unknown {
  try {
    return Reflect.get(target, key)
  } catch {
    return undefined
  }
}
