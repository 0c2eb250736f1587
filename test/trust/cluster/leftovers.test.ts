import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { GateInput, RolloverSide } from '../../../src/trust/cluster/gate.ts';
import { leftovers } from '../../../src/trust/cluster/leftovers.ts';
import type { ClusterState } from '../../../src/trust/cluster/state.ts';
import { both, forbidden, gateInput, lines, onlyNext, read } from '../../support/rollover-state.ts';

const finished: Partial<ClusterState> = {
  rootCas: read(new Map([['default', onlyNext]])),
  trustBundles: read(new Map([['bundle', onlyNext]])),
};

function rejecting(...sides: readonly RolloverSide[]): Partial<GateInput> {
  return {
    servers: { serves: new Set(['next']), rejects: new Set(sides), rejectsOldTrust: false },
  };
}

const named = ['waiting kube-system/extension-apiserver-authentication still has the old CA'];

describe('leftovers()', () => {
  const cases: Readonly<Record<string, readonly [GateInput, readonly string[]]>> = {
    'names the ConfigMap when the old CA is published nowhere': [gateInput(finished), named],
    'names it when API servers reject the old CA': [gateInput(finished, rejecting('old')), named],
    'allows the old CA while it is published': [gateInput(), []],
    'allows the old CA while all API servers accept it': [gateInput(finished, rejecting()), []],
    'is empty once the ConfigMap lacks the old CA': [
      gateInput({ ...finished, extensionAuthentication: read(onlyNext) }),
      [],
    ],
    'is unknown for a credential that may not read the ConfigMap': [
      gateInput({ ...finished, extensionAuthentication: forbidden }),
      ['unknown cannot see kube-system/extension-apiserver-authentication: HTTP status 403'],
    ],
    'names it when the ClusterTrustBundles are gone': [
      gateInput({ ...finished, trustBundles: { outcome: 'absent' } }),
      named,
    ],
    'allows the old CA while a namespace has it': [
      gateInput({ ...finished, rootCas: read(new Map([['default', both]])) }),
      [],
    ],
  };
  for (const [name, [input, expected]] of Object.entries(cases)) {
    it(name, () => {
      assert.deepEqual(lines(leftovers(input)), expected);
    });
  }
});
