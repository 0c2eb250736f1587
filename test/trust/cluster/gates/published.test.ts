import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { GateInput } from '../../../../src/trust/cluster/gate.ts';
import { judgePublished } from '../../../../src/trust/cluster/gates/published.ts';
import type { PublishedCas } from '../../../../src/trust/cluster/state.ts';
import {
  both,
  forbidden,
  gateInput,
  lines,
  onlyNext,
  onlyOld,
  read,
} from '../../../support/rollover-state.ts';

const bundle = 'kubernetes.io:kube-apiserver-serving:1';
const servesNext = { serves: new Set(['next'] as const), rejects: new Set<never>() };
const withoutBridge = { servers: { ...servesNext, rejectsOldTrust: true } };
const withBridge = { servers: { ...servesNext, rejectsOldTrust: false } };

function rootCas(entries: Readonly<Record<string, PublishedCas>>): GateInput {
  return gateInput({
    namespaces: read(['default', 'kube-system']),
    rootCas: read(new Map(Object.entries(entries))),
  });
}

describe('judgePublished()', () => {
  const cases: Readonly<Record<string, readonly [GateInput, readonly string[]]>> = {
    'is open with both CAs everywhere': [gateInput(), []],
    'needs no ClusterTrustBundle and no cluster-info': [
      gateInput({ trustBundles: { outcome: 'absent' }, clusterInfo: { outcome: 'absent' } }),
      [],
    ],
    'waits for a ClusterTrustBundle': [
      gateInput({ trustBundles: read(new Map([[bundle, onlyOld]])) }),
      [`waiting ClusterTrustBundle ${bundle} lacks the new CA`],
    ],
    'waits for a namespace without the new CA': [
      rootCas({ default: both, 'kube-system': onlyOld }),
      ['waiting kube-root-ca.crt lacks the new CA in 1 namespace of 2 [kube-system]'],
    ],
    'waits for a namespace that lost the old CA': [
      rootCas({ default: onlyNext, 'kube-system': both }),
      ['waiting kube-root-ca.crt lacks the old CA in 1 namespace of 2 [default]'],
    ],
    'waits for a namespace without the ConfigMap': [
      rootCas({ default: both }),
      ['waiting 1 namespace without kube-root-ca.crt [kube-system]'],
    ],
    'waits for the CAs and the signature of cluster-info': [
      gateInput({ clusterInfo: read({ ...onlyOld, unsignedTokens: ['abcdef'] }) }),
      [
        'waiting kube-public/cluster-info lacks the new CA',
        'waiting kube-public/cluster-info is not signed for 1 bootstrap token [abcdef]',
      ],
    ],
    'names a malformed bundle': [
      gateInput({ clusterInfo: read({ ...both, unsignedTokens: [], problem: 'not PEM' }) }),
      ['waiting kube-public/cluster-info: not PEM'],
    ],
    'is harmful when an API server serves only the new CA': [
      gateInput({ clusterInfo: read({ ...onlyOld, unsignedTokens: [] }) }, withoutBridge),
      ['harmful kube-public/cluster-info lacks the new CA, so new nodes cannot join'],
    ],
    'waits when the bridge is served': [
      gateInput({ clusterInfo: read({ ...onlyOld, unsignedTokens: [] }) }, withBridge),
      ['waiting kube-public/cluster-info lacks the new CA'],
    ],
    'needs no old CA once no server presents it': [
      gateInput({ trustBundles: read(new Map([[bundle, onlyNext]])) }, withBridge),
      [],
    ],
    'is unknown for a credential that may read nothing': [
      gateInput({
        trustBundles: forbidden,
        namespaces: forbidden,
        rootCas: forbidden,
        clusterInfo: forbidden,
      }),
      [
        'unknown cannot see ClusterTrustBundles: HTTP status 403',
        'unknown cannot see kube-root-ca.crt of the namespaces: HTTP status 403',
        'unknown cannot see kube-public/cluster-info: HTTP status 403',
      ],
    ],
    'judges the namespaces that have the ConfigMap without their list': [
      gateInput({ namespaces: forbidden, rootCas: read(new Map([['default', onlyOld]])) }),
      [
        'waiting kube-root-ca.crt lacks the new CA in 1 namespace of 1 [default]',
        'unknown cannot see the list of namespaces: HTTP status 403',
      ],
    ],
    'is unknown without the bootstrap tokens': [
      gateInput({ clusterInfo: read(both) }),
      [
        'unknown cannot verify the signatures of kube-public/cluster-info: the credential may not list Secrets in kube-system',
      ],
    ],
  };
  for (const [name, [input, expected]] of Object.entries(cases)) {
    it(name, () => {
      const gate = judgePublished(input);
      assert.deepEqual(lines(gate.reasons), expected);
      assert.equal(gate.state, expected[0]?.split(' ')[0] ?? 'open');
    });
  }

  it('names the remedy when pods reject the API servers', () => {
    const published = new Map([['default', onlyOld]]);
    const namespaces = read(['default']);
    const input = gateInput({ namespaces, rootCas: read(published) }, withoutBridge);
    const { reasons } = judgePublished(input);
    assert.equal(reasons[0]?.state, 'harmful');
    assert.match(reasons[0].remedy ?? '', /^Append the bridge .* or restore the previous/);
  });

  it('names the one namespace of 200 that is behind', () => {
    const names = Array.from({ length: 200 }, (_, index) => `team-${index}`);
    const published = names.map((name) => [name, name === 'team-77' ? onlyOld : both] as const);
    const input = gateInput({ namespaces: read(names), rootCas: read(new Map(published)) });
    assert.deepEqual(lines(judgePublished(input).reasons), [
      'waiting kube-root-ca.crt lacks the new CA in 1 namespace of 200 [team-77]',
    ]);
  });
});
