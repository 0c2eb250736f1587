import assert from 'node:assert/strict';
import type { AgentMetrics } from '../../src/metrics/agent-metrics.ts';

/** The result of one scrape: `name{labels as written}` → value, and `name` → `type`. */
export interface Exposition {
  readonly samples: ReadonlyMap<string, number>;
  readonly types: ReadonlyMap<string, string>;
}

export async function scrape(metrics: Pick<AgentMetrics, 'render'>): Promise<Exposition> {
  return parseExposition(await metrics.render());
}

/** Parses the text format strictly: any other line fails the test. */
export function parseExposition(text: string): Exposition {
  const samples = new Map<string, number>();
  const types = new Map<string, string>();
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('# HELP ')) continue;
    const [, typed, type] = /^# TYPE (\S+) (\w+)$/.exec(line) ?? [];
    if (typed !== undefined && type !== undefined) types.set(typed, type);
    else {
      const [, series, value] = /^([a-zA-Z_:][\w:]*(?:\{.*\})?) (\S+)$/.exec(line) ?? [];
      assert.ok(series !== undefined && value !== undefined, `not an exposition line: ${line}`);
      assert.ok(!samples.has(series), `twice: ${series}`);
      samples.set(series, toNumber(value));
    }
  }
  return { samples, types };
}

/** Label names by metric. The labels of a histogram are on its buckets, sum and count. */
export function labelsOf({ samples, types }: Exposition): Map<string, string> {
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

function toNumber(value: string): number {
  if (value === '+Inf') return Infinity;
  if (value === '-Inf') return -Infinity;
  const number = Number(value);
  assert.ok(!Number.isNaN(number), `not a number: ${value}`);
  return number;
}

/** The samples of one metric, without the name in their keys. */
export function series({ samples }: Exposition, name: string): Record<string, number> {
  const found = [...samples].filter(([key]) => key === name || key.startsWith(`${name}{`));
  return Object.fromEntries(found.map(([key, value]) => [key.slice(name.length), value]));
}
