import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Progress } from '../../src/cli/doctor-progress.ts';
import { FakeClock } from '../support/fake-clock.ts';

function terminal(isTTY: boolean) {
  let text = '';
  const output = { isTTY, columns: 40, write: (part: string) => (text += part) };
  return { output, text: () => text };
}

const erase = '\r\u001b[K';

describe('Progress', () => {
  it('shows on a terminal what takes more than two seconds, and erases it', async () => {
    const clock = new FakeClock();
    const { output, text } = terminal(true);
    const progress = new Progress(output, clock).show();
    progress.note('the cluster', 'started');
    await clock.advance(1_999);
    assert.equal(text(), '');
    await clock.advance(1);
    assert.equal(text(), `${erase}waiting for the cluster (2s)`);
    progress.say('a line');
    assert.equal(text(), `${erase}waiting for the cluster (2s)${erase}a line\n`);
    await clock.advance(1_000);
    progress[Symbol.dispose]();
    assert.ok(text().endsWith(`a line\n${erase}waiting for the cluster (3s)${erase}`));
  });

  it('writes only lines of their own without a terminal', async () => {
    const clock = new FakeClock();
    const { output, text } = terminal(false);
    using progress = new Progress(output, clock).show();
    progress.note('the cluster', 'started');
    await clock.advance(5_000);
    progress.say('a line');
    assert.equal(text(), 'a line\n');
  });
});
