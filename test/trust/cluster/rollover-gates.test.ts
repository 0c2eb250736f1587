import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { judgeAll } from '../../../src/trust/cluster/rollover-gates.ts';
import { gateInput, onlyNext, read } from '../../support/rollover-state.ts';

const findings = { probes: [], kubeletAuthorities: [], kubelets: [] };

/** After a step *finish* that was interrupted, the old CA is left in a ConfigMap alone. */
const interrupted = gateInput({
  rootCas: read(new Map([['default', onlyNext]])),
  trustBundles: read(new Map([['bundle', onlyNext]])),
});

function leftoversWith(removesLeftovers: boolean): string[] {
  const gates = judgeAll({ ...interrupted, confirmed: { removesLeftovers } }, findings);
  const messages = gates.flatMap(({ reasons }) => reasons.map(({ message }) => message));
  return messages.filter((message) => message.includes('extension-apiserver-authentication'));
}

describe('judgeAll()', () => {
  it('closes G8 while an object has the old CA that the judged step does not remove', () => {
    assert.deepEqual(leftoversWith(false), [
      'kube-system/extension-apiserver-authentication still has the old CA',
    ]);
    assert.deepEqual(leftoversWith(true), []);
  });
});
