import t from 'tap'
import { isSupportedNode, SUPPORTED_NODE, warnOfUnsupportedNode } from '../src/node-version.ts'
import { captureLog } from './support/app.ts'

t.test('versions from the major and minor version of the range on are supported', async t => {
  const supported = (version: string) => isSupportedNode(version, '>=20.19')
  t.strictSame(['v20.19.0', 'v20.20.2', 'v22.0.0', 'v100.0.1'].map(supported), [true, true, true, true])
  t.strictSame(['v20.18.3', 'v20.9.0', 'v18.20.8', 'v3.99.0'].map(supported), [false, false, false, false])
})

t.test('a range or a version of another form is an error', async t => {
  for (const range of ['^20.19', '>=20', '>=20.19 <27', '']) {
    t.throws(() => isSupportedNode('v22.0.0', range), { message: /does not match/ }, range)
  }
  t.throws(() => isSupportedNode('22.0.0', '>=20.19'), { message: /does not match/ })
})

t.test('an unsupported version logs one warning, a supported one logs none', async t => {
  const { logger, lines } = captureLog()
  warnOfUnsupportedNode(logger, process.version)
  t.strictSame(lines, [], 'the Node of this test')
  warnOfUnsupportedNode(logger, 'v20.18.3')
  t.equal(lines.length, 1)
  t.hasStrict(lines[0], {
    level: 40,
    node_version: 'v20.18.3',
    supported: SUPPORTED_NODE,
    msg: 'unsupported Node version'
  })
})
