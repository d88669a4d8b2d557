/**
 * Cleans up after a private server of a test when the process that started it has ended or requests it: both close
 * stdin. Started by postgres.ts, with the server's home as its argument.
 */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { findPostmaster } from '../../src/database/embedded/postmaster.ts'
import { signalTree } from './process-tree.ts'

const home = process.argv[2]
if (home === undefined) throw new Error('usage: postgres-reaper <home>')

for await (const _ of process.stdin);
const dir = join(home, 'postgres')
const left = await findPostmaster(dir)
// Backends end after their postmaster, but not while they are stopped by a signal.
if (left !== undefined) await signalTree(left.pid, 'SIGKILL')
await rm(home, { recursive: true, force: true, maxRetries: 10 })
