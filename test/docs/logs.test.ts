import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { logEvents } from '../../src/core/log-events.ts';
import { plain, read, tableRows } from './pages.ts';

const rows = tableRows(await read('docs/logs.md'));

describe('logs.md', () => {
  it('lists every event of the source once, with its level and message', () => {
    const documented = rows.map(([event, level, message]) => [plain(event), { level, message }]);
    assert.deepEqual(Object.fromEntries(documented), logEvents);
    assert.equal(documented.length, Object.keys(logEvents).length);
  });

  it('explains the meaning and the remedy of every event', () => {
    for (const [event, , , fields, meaning, todo, kubelet, ...more] of rows) {
      assert.ok(fields && meaning && todo && kubelet, `${event}: an empty cell`);
      assert.deepEqual(more, [], `${event}: too many cells`);
    }
  });

  it("names the kubelet's lines", () => {
    const counterparts = rows.map((row) => row[6] ?? '').join('\n');
    for (const line of [
      'Certificate rotation is enabled',
      'Certificate rotation deadline determined',
      'Waiting for next certificate rotation',
      'Rotating certificates',
      'Certificate signing request created',
      'Certificate signing request is approved, waiting to be issued',
      'Certificate signing request is issued',
    ]) {
      assert.ok(counterparts.includes(`\`${line}\``), line);
    }
  });
});
