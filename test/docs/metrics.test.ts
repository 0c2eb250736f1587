import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { everyMetric } from '../metrics/every-metric.ts';
import { labelsOf, scrape } from '../metrics/exposition.ts';
import { plain, read, tableRows } from './pages.ts';

/** Name, type, labels and meaning of each metric. */
const rows = tableRows(await read('docs/metrics.md'))
  .map((row) => row.map(plain))
  .filter(([name = '']) => /^(?:nodecertd|kubelet|process|nodejs)_/.test(name));

describe('metrics.md', () => {
  it('lists every metric of the program once, and no other', async () => {
    const { types } = await scrape(everyMetric());
    assert.deepEqual(rows.map(([name = '']) => name).toSorted(), [...types.keys()].toSorted());
  });

  it('names the type and the labels of each metric', async () => {
    const exposition = await scrape(everyMetric());
    const labels = labelsOf(exposition);
    for (const [name = '', type, documented = '', meaning] of rows) {
      assert.equal(type, exposition.types.get(name), name);
      assert.deepEqual(inOrder(documented), inOrder(labels.get(name) ?? ''), name);
      assert.ok(meaning, `${name}: no meaning`);
    }
  });
});

function inOrder(labels: string): string[] {
  return labels.split(', ').toSorted();
}
