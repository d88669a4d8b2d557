/** The code that must not be wrong, and the folders and files of its tests. Paths are relative to the root. */
export const GROUPS = [
  { name: 'trading', sources: ['src/trading'], tests: ['test/trading', 'test/jobs'] },
  { name: 'verdict', sources: ['src/health/verdict.ts'], tests: ['test/health'] },
  {
    name: 'parsers',
    sources: [
      'src/domain/decimal.ts',
      'src/exchanges/http/answer-fields.ts',
      'src/exchanges/http/row-reader.ts',
      'src/exchanges/adapters'
    ],
    tests: ['test/domain', 'test/exchanges']
  },
  {
    name: 'scheduler',
    sources: ['src/scheduler'],
    tests: [
      'test/scheduler',
      'test/routes/system/jobs.test.ts',
      'test/routes/system/scheduler.test.ts',
      'test/plugins/metrics.test.ts',
      'test/alerts/alert-runner.test.ts'
    ]
  }
]
