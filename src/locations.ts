/**
 * The folder of the built sources, in which worker threads and SQL files are found: `build/src`, or the folder of the
 * bundle. This file is at the top of the sources because bundles and their chunks are at the top of theirs.
 */
export const sourceDir = import.meta.dirname
