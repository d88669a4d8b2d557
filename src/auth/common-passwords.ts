// Loaded by the password thread when a password is chosen, and freed with the thread: 49,000 texts take 4 MB.
import { dictionary } from '@zxcvbn-ts/language-common'

/** The commonest passwords in lower case: nearly 50,000, which include the commonest 10,000 that are no patterns. */
export const commonPasswords: ReadonlySet<string> = new Set(dictionary['passwords-common'])
