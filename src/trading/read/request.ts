// @FEAT:trading @COMP:service @TYPE:core
import { weightOf } from '../../accept.ts'
import type { Caller } from '../../auth/caller.ts'
import { invalidField, ServiceError } from '../../errors.ts'
import type { Language } from '../../messages.ts'
import type { Collection } from './collection.ts'
import { keyOf } from './cursor.ts'
import { isAfter, type Moment, momentOf } from './moment.ts'
import type { Owner } from './scope.ts'
import type { Reading } from './trading-reader.ts'

/** The query of a request, as its schema allows it. */
export interface Query {
  from?: string
  to?: string
  account_id?: string
  strategy_id?: string
  currency?: string
  user?: string
  limit?: number
  before?: string
}

export type Format = 'json' | 'csv'

/** The format that a client prefers by its `Accept` header; JSON unless it prefers CSV. */
export function formatOf(accept: string | undefined): Format {
  return weightOf('text/csv', accept) > weightOf('application/json', accept) ? 'csv' : 'json'
}

/**
 * What a request asks for, within what the caller may read.
 * @throws {ServiceError} VALIDATION_FAILED; FORBIDDEN when a caller of the role `user` names another user
 */
export function readingOf(collection: Collection, query: Query, caller: Caller, language: Language): Reading {
  const { from, to, before, account_id: accountId, strategy_id: strategyId, currency, limit } = query
  const moment = (name: 'from' | 'to', text: string | undefined): Moment | undefined => {
    const found = text === undefined ? undefined : momentOf(text)
    if (text !== undefined && found === undefined) throw invalidField(`/querystring/${name}`, language)
    return found
  }
  const filter = { owner: ownerOf(caller, query.user), accountId, strategyId, currency }
  const times = { from: moment('from', from), to: moment('to', to) }
  if (times.from && times.to && isAfter(times.from, times.to)) throw invalidField('/querystring/from', language)
  const types = collection.key.map(([, type]) => type)
  const after = before === undefined ? undefined : keyOf(before, collection.name, types)
  if (before !== undefined && after === undefined) throw invalidField('/querystring/before', language, 'pattern')
  return { collection, filter: { ...filter, ...times, after }, limit }
}

/** Whose rows a caller reads. @throws {ServiceError} FORBIDDEN */
function ownerOf({ role, userId, username }: Caller, user: string | undefined): Owner {
  if (role !== 'user') return user === undefined ? undefined : { username: user }
  const isAnother = user !== undefined && user.toLowerCase() !== username?.toLowerCase()
  if (userId === null || isAnother) throw new ServiceError('FORBIDDEN')
  return { userId }
}
