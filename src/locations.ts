/**
 * The folder of the built sources, from which worker threads and SQL files are found. It is asked for here, in a file
 * at the top of the sources, because a bundle stands at the top too, whatever it was made from.
 */
export const sourceDir = import.meta.dirname
