import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { everyMetric } from '../metrics/every-metric.ts';
import type { Exposition } from '../metrics/exposition.ts';
import { scrape } from '../metrics/exposition.ts';
import { plain, read, tableRows } from './pages.ts';

/** Name, type, labels and meaning of each metric. */
const rows = tableRows(await read('docs/metrics.md'))
  .map((row) => row.map(plain))
  .filter(([name = '']) => /^(?:nodecertd|kubelet|process|nodejs)_/.test(name));

/** Label names by metric. The labels of a histogram are on its buckets, sum and count. */
function labelsOf({ samples, types }: Exposition): Map<string, string> {
  const labels = new Map<string, Set<string>>();
  for (const series of samples.keys()) {
    const [, sample = '', inside = ''] = /^([\w:]+)(?:\{(.*)\})?$/.exec(series) ?? [];
    const name = types.has(sample) ? sample : sample.replace(/_(?:bucket|sum|count)$/, '');
    const known = labels.get(name) ?? new Set<string>();
    for (const [, label = ''] of inside.matchAll(/(\w+)="/g)) if (label !== 'le') known.add(label);
    labels.set(name, known);
  }
  return new Map([...labels].map(([name, known]) => [name, [...known].join(', ') || '–']));
}

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
