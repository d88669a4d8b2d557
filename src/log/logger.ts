import { type Logger, pino } from 'pino'
import { errorFields, errorMessage, isError } from './error-fields.ts'
import { type LogDestination, logDestination } from './log-destination.ts'
import { redactLine } from './redact.ts'

/** @param base fields of every line; default the process id and the host name */
export interface LogOptions {
  level: string
  base?: Record<string, unknown>
}

/** Levels of objects in a log line. What is below is left out. */
const MAX_DEPTH = 6

/**
 * The only function that makes a logger, for every thread. Of an error, under any key and at any depth, a line has only
 * the fields of `ErrorFields`; of another object of a class it has only the name of the class. Credentials of URLs are
 * removed from every line.
 * @param destination default standard output
 */
export function createLogger({ level, base }: LogOptions, destination: LogDestination = logDestination()): Logger {
  const logger: Logger = pino(
    {
      level,
      ...(base && { base }),
      timestamp: pino.stdTimeFunctions.isoTime,
      // Fastify adds serializers of its own for `req` and `res`, which log whole addresses, unless the logger has some.
      serializers: { err: errorFields, req: requestFields, res: responseFields },
      hooks: {
        // Before pino reads the message of an error.
        logMethod(args, method) {
          method.apply(this, safeArguments(args) as Parameters<typeof method>)
        },
        streamWrite: redactLine
      }
    },
    destination
  )
  const { child } = logger
  // Loggers that are made from this one inherit it.
  logger.child = function (this: Logger, bindings: object, options?: object) {
    return child.call(this, safeFields(bindings), options)
  } as Logger['child']
  return logger
}

/** The arguments of a log call: an error, or the fields; the message; the values of the message. */
function safeArguments([first, ...others]: readonly unknown[]): unknown[] {
  const [message, ...values] = others.map(one => (isError(one) ? errorMessage(one) : safe(one)))
  if (isError(first)) return [{ err: errorFields(first) }, message ?? errorMessage(first), ...values]
  const fields = typeof first === 'object' && first !== null ? safeFields(first) : first
  return others.length === 0 ? [fields] : [fields, message, ...values]
}

/** The fields of a line, with `ErrorFields` in place of each error. */
function safeFields(fields: object): Record<string, unknown> {
  if (!isPlain(fields)) return { type: fields.constructor?.name }
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => {
      if (key === 'err') return [key, errorFields(value)]
      return [key, key === 'req' || key === 'res' ? value : safe(value, 1)]
    })
  )
}

function safe(value: unknown, depth = 0): unknown {
  if (isError(value)) return errorFields(value)
  if (typeof value !== 'object' || value === null) return value
  if (depth > MAX_DEPTH) return undefined
  if (Array.isArray(value)) return value.map(item => safe(item, depth + 1))
  if (isPlain(value)) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, safe(item, depth + 1)]))
  }
  return value instanceof Date ? value : { type: value.constructor?.name }
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

function requestFields(request: unknown): Record<string, unknown> {
  const { id, method } = request as { id?: unknown; method?: unknown }
  return { id, method }
}

function responseFields(reply: unknown): Record<string, unknown> {
  return { status: (reply as { statusCode?: unknown }).statusCode }
}
