// Preloaded into a service by a test: SIGUSR2 makes three errors that nothing catches, as a defect would.
process.on('SIGUSR2', () => {
  setImmediate(() => {
    throw new Error('first uncaught error of the test')
  })
  setTimeout(() => {
    throw new Error('second uncaught error of the test')
  }, 20)
  setTimeout(() => void Promise.reject(new Error('third uncaught error of the test')), 40)
})
