// @FEAT:health-monitoring @COMP:service @TYPE:core

/** What happened, for programs: the content of a message to the webhook. Plain JSON, stored in `outbox.event`. */
export interface NoticeEvent {
  type:
    | 'alert.raised'
    | 'alert.reminded'
    | 'alert.recovered'
    | 'replica.restarted'
    | 'order.external'
    | 'order.forced'
    | 'quiet.ended'
  /** When it happened: ISO 8601, UTC. */
  at: string
  /** Field names are snake_case, times are ISO 8601 in UTC. */
  data: Readonly<Record<string, unknown>>
}

/** Names of fields whose numbers are milliseconds since the epoch. */
const TIMES = /(?:At|^at|^since|^until)$/

/** An object of the domain as data of an event: camelCase becomes snake_case, times become ISO 8601. */
export function eventData(value: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(value).map(([name, field]) => [
      name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`),
      TIMES.test(name) && typeof field === 'number' ? new Date(field).toISOString() : fieldOf(field)
    ])
  )
}

function fieldOf(field: unknown): unknown {
  if (Array.isArray(field)) return field.map(fieldOf)
  return typeof field === 'object' && field !== null ? eventData({ ...field }) : field
}
