import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { FaultRow } from './family.ts';
import { herd } from './herd.ts';
import { scenarios } from './herd/scenarios.ts';

describe('the fault family herd', () => {
  it('keeps its promises for 2,000 nodes, scenario by scenario', { timeout: 240_000 }, async () => {
    const rows: FaultRow[] = [];
    const lines: string[] = [];
    const options = {
      thorough: false,
      signal: new AbortController().signal,
      progress: (line: string): void => void lines.push(line),
    };
    // A broken promise is thrown with its figures.
    for await (const row of herd.run(options)) rows.push(row);
    assert.equal(rows.length, scenarios.length);
    assert.ok(rows.every(({ tried, lost }) => tried === 4_000 && lost === 0));
    // The comparison is valid only if the other side behaves as documented.
    const waiting = rows.find(({ fault }) => fault.includes('no approver'));
    assert.match(waiting?.seen.join() ?? '', /outstanding each 1, client-go 9\d/);
  });
});
