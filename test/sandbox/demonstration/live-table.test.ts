import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import fc from 'fast-check';
import { renderLiveTable } from './live-table.ts';
import { certificateStates } from '../../../src/core/status.ts';
import { agentStatus, certificateStatus, pairFacts, start } from '../../cli/statuses.ts';

function bar(now: number, change: Parameters<typeof certificateStatus>[0] = {}): string {
  const status = agentStatus(now, [certificateStatus(change)]);
  const lines = renderLiveTable(status, { columns: 80, color: false });
  return /[━╌│·]+/.exec(lines[1] ?? '')?.[0] ?? '';
}

describe('renderLiveTable()', () => {
  it('draws the lifetime from the time of storing, and marks the deadline', () => {
    const [fresh, half, late] = [start, start + 50_000, start + 100_000].map((now) => bar(now));
    assert.match(fresh ?? '', /^╌+│╌+$/);
    assert.match(half ?? '', /^━+╌+│╌+$/);
    assert.match(late ?? '', /^━+│━+$/);
    const cells = fresh?.length ?? 0;
    assert.equal(fresh?.indexOf('│'), Math.floor(cells * 0.8));
    assert.equal(half?.indexOf('╌'), Math.round(cells / 2));
  });

  it('shows dots while there is no certificate', () => {
    const { current: _, rotationDeadline: __, ...bare } = certificateStatus();
    const [, line] = renderLiveTable(agentStatus(start, [bare]), { columns: 80, color: false });
    assert.match(line ?? '', /·{10,} {2}–$/);
  });

  it('shortens the serial number and shows the time left', () => {
    const [heading, line] = renderLiveTable(agentStatus(start + 40_000), {
      columns: 120,
      color: false,
    });
    assert.match(heading ?? '', /^CERTIFICATE +STATE +SERIAL +LIFETIME +LEFT +LAST EVENT$/);
    assert.match(line ?? '', /^kubelet-client {2}● valid {2}4f2a…ccdd {2}[━╌│]+ {2}1m$/);
  });

  it('keeps certificate, state and time left at 40 columns', () => {
    const lines = renderLiveTable(agentStatus(start), { columns: 40, color: false });
    assert.deepEqual(
      lines.map((line) => line.replace(/ +/g, ' ')),
      ['CERTIFICATE STATE LEFT', 'kubelet-client ● valid 1m 40s'],
    );
  });

  const tries: readonly (readonly [string, number, RegExp])[] = [
    ['a failure with its next attempt', start + 18_000, / CSR_DENIED, next attempt in 18s$/],
    ['a failure alone when the next try is due', start, / CSR_DENIED$/],
    ['a failure alone when the next try is past', start - 18_000, / CSR_DENIED$/],
  ];
  for (const [name, nextAttempt, expected] of tries) {
    it(`shows ${name}`, () => {
      const lastFailure = { code: 'CSR_DENIED', message: 'no', at: start } as const;
      const entry = certificateStatus({ state: 'backing-off', lastFailure, nextAttempt });
      const [, line] = renderLiveTable(agentStatus(start, [entry]), {
        columns: 140,
        color: false,
      });
      assert.match(line ?? '', expected);
    });
  }

  it('removes escape sequences from event texts', () => {
    const lastEvent = { at: start, text: 'a\u001b[2Jb\nc' };
    const [, line = '', ...more] = renderLiveTable(
      agentStatus(start, [certificateStatus({ lastEvent })]),
      { columns: 140, color: false },
    );
    assert.match(line, /12:00:00 ab c$/);
    assert.deepEqual(more, []);
  });

  it('stays within any width from 40 columns, with and without color', () => {
    const entry = fc
      .record({
        name: fc.stringMatching(/^[a-z]{1,63}$/),
        state: fc.constantFrom(...certificateStates),
        overdue: fc.boolean(),
        usable: fc.boolean(),
        rotationDeadline: fc.integer({ min: start - 1e6, max: start + 1e6 }),
        lastEvent: fc.record({ at: fc.constant(start), text: fc.string() }),
        current: fc
          .integer({ min: start - 1e6, max: start + 1e9 })
          .map((notAfter) => pairFacts({ notAfter })),
      })
      .map(certificateStatus);
    fc.assert(
      fc.property(
        fc.array(entry, { maxLength: 4 }),
        fc.integer({ min: 40, max: 200 }),
        (entries, columns) => {
          const status = agentStatus(start + 5_000, entries);
          const text = renderLiveTable(status, { columns, color: false });
          const colored = renderLiveTable(status, { columns, color: true });
          assert.equal(text.length, entries.length + 1);
          for (const line of text) assert.ok(Array.from(line).length <= columns, line);
          assert.deepEqual(
            colored.map((line) => stripVTControlCharacters(line).trimEnd()),
            text,
          );
        },
      ),
    );
  });
});
