import t from 'tap'
import { addWeeks, weekBars, weekTotal } from '../../src/trading/summary-week.ts'

t.test('a week is a bar for each day, between the lowest and the highest result and zero', async t => {
  t.equal(weekBars(['0', '1', '2', '3', '4', '5', '7']), '▁▂▃▄▅▆█')
  t.equal(weekBars(['7', '7', '7', '7', '7', '7', '7']), '███████', 'above zero')
  t.equal(weekBars(['-7', '-3.5', '0', '-7', '-7', '-7', '-1']), '▁▅█▁▁▁▇', 'below zero')
  t.equal(weekBars(['-10', '10', '0', '0', '0', '0', '0']), '▁█▅▅▅▅▅')
  t.equal(weekBars(['0', '0.00', '0', '0', '0', '0', '0']), '▁▁▁▁▁▁▁')
  t.equal(weekBars(['1e-9', '0', '0', '0', '0', '0', '0']), '█▁▁▁▁▁▁')
})

t.test('a day without a summary has a mark that no bar has', async t => {
  t.equal(weekBars([null, '0', null, '1', null, '-1', null]), '·▅·█·▁·')
  t.equal(weekBars([null, null, null, null, null, null, null]), '·······')
})

t.test('the total has the days that are known', async t => {
  t.equal(weekTotal(['0.1', '0.2', null, '-1']), '-0.7')
  t.equal(weekTotal([null]), '0')
})

t.test('the weeks of several accounts are added day by day; a day is missing where all miss it', async t => {
  t.strictSame(
    addWeeks([
      ['1', null, null, '0', '0', '0', '0.1'],
      ['2', '5', null, '0', '0', '0', '0.2']
    ]),
    ['3', '5', null, '0', '0', '0', '0.3']
  )
})
