/** Milliseconds since the Unix epoch, UTC. */
export type Millis = number
