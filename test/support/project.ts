import { dirname, join } from 'node:path'

/** The root of the project: this file runs from build/test/support. */
export const projectRoot = dirname(dirname(dirname(import.meta.dirname)))

/** The entry point of the service in dist/. */
export const serverScript = join(projectRoot, 'dist/src/server.js')

/** The operator's commands in dist/. */
export const cliScript = join(projectRoot, 'dist/src/cli.js')

/** The health check of the container in dist/. */
export const healthCheckScript = join(projectRoot, 'dist/src/health-check.js')

/** scheduler-entry.ts, bundled as the service is. */
export const schedulerScript = join(projectRoot, 'build/system/scheduler-entry.js')

/** steady-entry.ts, bundled as the service is. */
export const steadyScript = join(projectRoot, 'build/system/steady-entry.js')

/** The compiled files of tests: preloads, helper processes. */
export const compiledTests = join(projectRoot, 'build/test')
