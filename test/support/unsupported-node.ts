// Preloaded into a service process by system tests (node --import): this Node reports a version that is not supported.
Object.defineProperty(process, 'version', { value: 'v20.18.3' })
