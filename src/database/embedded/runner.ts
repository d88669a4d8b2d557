/** The user that the server runs as. Postgres refuses to run as root, and initdb refuses a user without a name. */
import { execFile } from 'node:child_process'
import { lchown, readdir, readFile, stat } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { StartError } from '../../start-error.ts'

/** All that programs get of the environment, which may hold secrets, and variables that change the settings of Postgres. */
export const ENVIRONMENT = { PATH: '/usr/bin:/bin:/usr/sbin:/sbin', LC_ALL: 'C', TZ: 'UTC' }

/** Postgres also asks access(2), which ignores the capabilities of users other than root unless the security bit is set. */
const CAPABILITY = [
  ...['--clear-groups', '--inh-caps=-all,+dac_override', '--ambient-caps=+dac_override'],
  '--securebits=+no_setuid_fixup'
]

export interface Runner {
  /** The command and its arguments in front of the program; empty: the program is started directly. */
  prefix: string[]
  /** Of the files that the program makes. */
  uid: number
  gid: number
}

/**
 * Chooses the user for a cluster in `dir`, which need not exist yet. A user with a name runs the server. Root becomes
 * the owner of the cluster, or `nobody`, and keeps one capability: to enter every directory, such as its own home. Where
 * root may not do that, and for a user without a name, a user namespace gives the same user another id.
 * @throws {StartError} with one sentence for the operator when neither works
 */
export async function chooseRunner(dir: string): Promise<Runner> {
  const self = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 }
  if (self.uid !== 0 && hasName()) return { ...self, prefix: [] }
  const [, id, group] = /^nobody:[^:]*:(\d+):(\d+):/m.exec(await readFile('/etc/passwd', 'utf8')) ?? []
  const nobody = { uid: Number(id ?? 65_534), gid: Number(group ?? 65_534) }
  const namespace = ['unshare', '--user', `--map-user=${nobody.uid}`, `--map-group=${nobody.gid}`]
  const candidates = [{ ...self, prefix: namespace }]
  if (self.uid === 0) {
    const owner = await stat(dir).catch(() => self)
    const { uid, gid } = owner.uid === 0 ? nobody : owner
    candidates.unshift({ uid, gid, prefix: ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, ...CAPABILITY] })
  }
  for (const candidate of candidates) if (await works(candidate)) return candidate
  throw new StartError(
    'the embedded Postgres cannot run as this user, and neither setpriv nor unshare works here: start the service as another user who is not root, or set DATABASE_URL'
  )
}

/** Gives a cluster to the user that the server runs as, where it belongs to another one. Idempotent. */
export async function giveTo({ uid, gid }: Runner, dir: string): Promise<void> {
  if ((await stat(dir)).uid === uid) return
  for (const entry of await readdir(dir, { recursive: true })) await lchown(join(dir, entry), uid, gid)
  // Last: where this is interrupted, it is done again.
  await lchown(dir, uid, gid)
}

async function works({ prefix: [command = '', ...args] }: Runner): Promise<boolean> {
  try {
    await promisify(execFile)(command, [...args, 'true'], { env: ENVIRONMENT })
    return true
  } catch {
    // Not installed, or not permitted here.
    return false
  }
}

function hasName(): boolean {
  try {
    return userInfo().username !== ''
  } catch {
    return false
  }
}
