// Preloaded into a service by a test: SIGUSR2 makes three errors that nothing catches, as a defect would. They occur in
// consecutive iterations of the event loop, all before the shutdown can end.
process.on('SIGUSR2', () => setImmediate(first))

function first(): never {
  setImmediate(second)
  throw new Error('first uncaught error of the test')
}

function second(): never {
  setImmediate(third)
  throw new Error('second uncaught error of the test')
}

function third(): void {
  void Promise.reject(new Error('third uncaught error of the test'))
}
