/**
 * The folder of the built sources, in which worker threads and SQL files are found: `build/src`, or the folder of the
 * bundle. This file is in the top folder of the sources, as bundles and chunks are in the top folder of the output.
 */
export const sourceDir = import.meta.dirname
