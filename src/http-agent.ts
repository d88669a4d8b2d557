// To be imported when the first outgoing call is due: the HTTP client is a tenth of the memory and a third of the start of
// this service. By a module of our own, because a bundle's dynamic import of undici itself finds no names in it.
export { Agent } from 'undici'
