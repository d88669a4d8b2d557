import type { DatabaseUnavailableError } from '../database/failure.ts'
import type { SessionUser } from './session-store.ts'
import type { Role } from './users.ts'

/** Who makes a request. */
export interface Caller {
  /** As in the audit log: the user name of a session, `token:` with the name of a token. */
  name: string
  role: Role
  /** The user whose data the caller owns. Never null with the role `user`; null for a token without a user. */
  userId: string | null
  /** The name of this user. */
  username: string | null
  kind: 'session' | 'token'
}

/** A caller whose credentials are valid, whatever the route requires. */
export interface Identity extends Caller {
  /** The user of the session or of the token; null for a token without a user. */
  user: SessionUser | null
  /** When the session ends without another request, or the token ends; ISO 8601. */
  expiresAt: string
  /** Why the credentials could not be verified; then they are as this replica last read them, at most five minutes ago. */
  unverified?: DatabaseUnavailableError | undefined
}
