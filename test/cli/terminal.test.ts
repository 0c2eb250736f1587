import assert from 'node:assert/strict';
import { it } from 'node:test';
import { canDrawLive, wantsColor } from '../../src/cli/terminal.ts';

it('canDrawLive() needs a terminal that is not dumb', () => {
  assert.equal(canDrawLive({ isTTY: true }, {}), true);
  assert.equal(canDrawLive({ isTTY: true }, { TERM: 'dumb' }), false);
  assert.equal(canDrawLive({}, { TERM: 'xterm' }), false);
});

it('wantsColor() respects NO_COLOR unless it is empty', () => {
  assert.deepEqual(
    [{}, { NO_COLOR: '' }, { NO_COLOR: '1' }].map((variables) => wantsColor(variables)),
    [true, true, false],
  );
});
