import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { acceptanceCases, manyAltNames } from './acceptance-cases.ts';
import { decide, explained } from './cluster.ts';

for (const { title, cases } of acceptanceCases) {
  describe(title, () => {
    for (const [name, expected, question] of cases) {
      it(`${name}: ${expected}`, () => {
        const { outcome, code, message } = decide(question);
        assert.equal(`${outcome} ${code}`, expected, message);
        assert.ok(Buffer.byteLength(message) <= 1024, message);
        assert.match(message, /^[^\p{C}]+$/u);
        const { decision, checks } = explained(question);
        assert.equal(`${decision.outcome} ${decision.code}`, expected);
        assert.equal(
          checks.filter(({ state }) => state === 'failed').length,
          Number(outcome !== 'approve'),
        );
      });
    }
  });
}

describe('a request with 1,000 SANs', () => {
  it('is denied without a look at each SAN', () => {
    const { message } = decide(manyAltNames(1_000));
    assert.match(message, /the request has 1000 SANs, more than 64/);
  });
});
