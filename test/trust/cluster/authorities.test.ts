import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { day } from '../../../src/core/instant.ts';
import type { TrustAuthority } from '../../../src/core/trust.ts';
import type { NamedAuthorities } from '../../../src/trust/cluster/authorities.ts';
import { rolloverAuthorities } from '../../../src/trust/cluster/authorities.ts';
import type { ClusterState, PublishedCas } from '../../../src/trust/cluster/state.ts';
import {
  authority,
  clusterState,
  forbidden,
  node,
  now,
  read,
  report,
} from '../../support/rollover-state.ts';

const first: TrustAuthority = { ...authority('a'), notBefore: now - 2 * day };
const second: TrustAuthority = {
  ...authority('b'),
  subject: 'CN=kubernetes-2026-11',
  notBefore: now - day,
};
const monthly: TrustAuthority = {
  ...authority('e'),
  subject: 'CN=kubernetes-2025-05',
  notBefore: now - 2 * day,
};
const foreign: TrustAuthority = { ...authority('c'), subject: 'CN=people', notBefore: now };
const bridge: TrustAuthority = { ...second, fingerprint: 'd'.repeat(64), isSelfSigned: false };

function cluster(published: readonly TrustAuthority[], clients = published): ClusterState {
  const bundle: PublishedCas = { authorities: published };
  return clusterState({
    rootCas: read(new Map([['default', bundle]])),
    trustBundles: { outcome: 'absent' },
    clusterInfo: read(bundle),
    extensionAuthentication: read({ authorities: clients }),
  });
}

describe('rolloverAuthorities()', () => {
  const onNode = node('node-1', {
    report: report({ places: { kubeconfig: ['c'.repeat(16)], clientCa: [] } }),
  });
  const cases: Readonly<Record<string, readonly [ClusterState, NamedAuthorities, string]>> = {
    'finds the only CA': [cluster([first]), {}, 'a'],
    'takes the later CA for the new one, in any order': [cluster([second, first]), {}, 'a b'],
    'finds a new CA that only clients use': [cluster([first], [first, second]), {}, 'a b'],
    'finds an old CA that only clients still use': [cluster([second], [first, second]), {}, 'a b'],
    'finds a new CA that only clients use, in the second rollover': [
      cluster([monthly], [monthly, second]),
      {},
      'e b',
    ],
    'finds the new CA alone after the last step': [
      cluster([second]),
      { old: 'aaaa', next: 'bbbb' },
      'b',
    ],
    'leaves out a CA of other clients': [cluster([first], [first, foreign]), {}, 'a'],
    'finds a CA with another name on a node': [
      { ...cluster([first], [first, foreign]), nodes: read([onNode]) },
      {},
      'a c',
    ],
    'leaves out a bridge': [cluster([first, second, bridge]), {}, 'a b'],
    'reads what the credential allows': [
      { ...cluster([first, second]), rootCas: forbidden, extensionAuthentication: forbidden },
      {},
      'a b',
    ],
    'follows the names of the administrator': [
      cluster([first, second]),
      { old: 'BBBB', next: 'aaaa' },
      'b a',
    ],
    'needs one name for two CAs': [cluster([first, foreign]), { next: 'cc' }, 'a c'],
    'accepts the name of the only CA': [cluster([first]), { old: 'aa' }, 'a'],
  };
  for (const [name, [state, named, expected]] of Object.entries(cases)) {
    it(name, () => {
      const { old, next } = rolloverAuthorities(state, named);
      const digits = [old, ...(next === undefined ? [] : [next])].map((one) => one.fingerprint[0]);
      assert.equal(digits.join(' '), expected);
    });
  }

  const refusals: Readonly<Record<string, readonly [ClusterState, NamedAuthorities, RegExp]>> = {
    'three CAs': [cluster([first, second, foreign]), {}, /has 3 CAs: a{16} .*, b{16} .*, c{16} /],
    'two CAs of one second': [
      cluster([first, { ...second, notBefore: first.notBefore }]),
      {},
      /has 2 CAs/,
    ],
    'no self-signed CA': [cluster([bridge]), {}, /has no self-signed CA among d{16} /],
    'no CA at all': [cluster([]), {}, /has no self-signed CA among none/],
    'a name that fits no CA': [
      cluster([first]),
      { old: 'ff' },
      /0 CAs of the cluster have a fingerprint that begins with ff; it has a{16} /,
    ],
    'one name among three CAs': [cluster([first, second, foreign]), { old: 'aa' }, /has 3 CAs/],
    'the same CA twice': [cluster([first, second]), { old: 'aa', next: 'aa' }, /has 2 CAs/],
  };
  it('asks for permissions when the credential sees no CA', () => {
    const state = { ...cluster([]), trustBundles: forbidden, clusterInfo: forbidden };
    const message = 'cannot see the CAs of the cluster: HTTP status 403';
    assert.throws(() => rolloverAuthorities(state), { code: 'API_FORBIDDEN', message });
  });

  const separate: Readonly<Record<string, readonly [ClusterState, NamedAuthorities]>> = {
    'with one CA each': [cluster([first], [foreign]), {}],
    'in a rollover of the CA of servers': [cluster([first, second], [foreign]), {}],
    'in a rollover of the CA of clients, named': [
      cluster([foreign], [first, second]),
      { old: 'aa', next: 'bb' },
    ],
  };
  for (const [name, [state, named]] of Object.entries(separate)) {
    it(`refuses separate CAs of servers and clients ${name}`, () => {
      const message = /^the CAs of servers \([abc]{16} .*\) are not those of clients \([abc]{16} /;
      assert.throws(() => rolloverAuthorities(state, named), { code: 'USAGE', message });
    });
  }

  it('does not need the CAs of clients', () => {
    const state = cluster([first], []);
    assert.deepEqual(rolloverAuthorities(state), { old: first });
  });

  for (const [name, [state, named, message]] of Object.entries(refusals)) {
    it(`asks for names: ${name}`, () => {
      assert.throws(() => rolloverAuthorities(state, named), { code: 'USAGE', message });
    });
  }
});
