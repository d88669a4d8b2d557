import type { Role } from './users.ts'

/** Who makes a request. */
export interface Caller {
  /** As in the audit log: the user name of a session, `token:` with the name of a token. */
  name: string
  role: Role
  /** The user whose data the caller owns. Never null with the role `user`; null for a token without a user. */
  userId: string | null
  kind: 'session' | 'token'
}
