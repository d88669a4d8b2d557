import t from 'tap'
import { routableTarget } from '../src/request-target.ts'

t.test('a malformed path in a scope is encoded, other targets are unchanged', async t => {
  const targets: [target: string, routed: string][] = [
    ['/api/system/%', '/api/system/%25'],
    ['/api/system/a%zz?b=%zz', '/api/system/a%25zz?b=%zz'],
    ['/api/system/%ff%41', '/api/system/%25ff%41'],
    ['/api/system/%e2%82', '/api/system/%25e2%2582'],
    ['/%61pi/system/%', '/%61pi/system/%25'],
    ['http://x/api/system/%?%', '/api/system/%25?%'],
    ['/api/system/%#%', '/api/system/%25#%'],
    ['/api/trading/%', '/api/trading/%25'],
    ['/api/system/%41', '/api/system/%41'],
    ['/api/system/%2525', '/api/system/%2525'],
    ['/health/%', '/health/%'],
    ['/api/system%', '/api/system%'],
    ['http:///api/system/%', 'http:///api/system/%'],
    ['*', '*']
  ]
  for (const [target, routed] of targets) {
    t.equal(routableTarget(target, ['/api/system/', '/api/trading/']), routed, target)
  }
})
