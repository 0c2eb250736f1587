import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { shortFingerprint } from '../../../src/core/trust.ts';
import type { GateReason } from '../../../src/trust/cluster/gate.ts';
import type { ControlPlaneNode } from '../../../src/trust/control-plane/control-plane-nodes.ts';
import type {
  FrontProxyFacts,
  FrontProxyProbe,
} from '../../../src/trust/control-plane/front-proxy-facts.ts';
import type { FrontProxyQuestion } from '../../../src/trust/control-plane/front-proxy-gate.ts';
import {
  nextProxies,
  oldProxies,
  rejectionsOf,
  unanswered,
} from '../../../src/trust/control-plane/front-proxy-gate.ts';
import { next, old } from './check-context.ts';

const accepted = { kind: 'accepted' } as const;
const rejected = { kind: 'rejected' } as const;
const both: FrontProxyProbe = { old: accepted, next: accepted };
const onlyOld: FrontProxyProbe = { old: accepted, next: rejected };

const extension = { host: '10.244.0.7', port: 10_443, serverName: 'sample.extra.svc' };
const api = { name: 'v1.example.com', path: '/apis/example.com/v1' };

/** The issuer of front-proxy-client on cp2. */
function cp2(issuer?: typeof old): ControlPlaneNode {
  const report = {
    authorities: [],
    leaves: {},
    startedAt: {},
    reportedAt: 0,
    ...(issuer && { frontProxyClient: shortFingerprint(issuer.authority.fingerprint) }),
  };
  return { name: 'cp2', isReady: true, addresses: [], report };
}

function facts(changed: Partial<FrontProxyFacts> = {}): FrontProxyFacts {
  return {
    servers: [
      { name: 'cp1', isOwn: true, ...both },
      { name: 'cp2', isOwn: false, ...both },
    ],
    published: [old.authority, next.authority],
    apis: [{ ...api, servers: [{ ...extension, ...both }] }],
    others: [cp2(old)],
    ...changed,
  };
}

function question(...except: readonly string[]): FrontProxyQuestion {
  const authorities = { old: old.authority, next: next.authority };
  return { authorities, except: new Set(except) };
}

/** As in `waiting: a message`. */
function texts(reasons: readonly GateReason[]): string[] {
  return reasons.map(({ state, message }) => `${state}: ${message}`);
}

describe('rejectionsOf()', () => {
  it('finds nothing if every server accepts the CA', () => {
    assert.deepEqual(rejectionsOf('next', facts(), question()), []);
    assert.deepEqual(rejectionsOf('old', facts(), question()), []);
  });

  const cases: readonly [string, Partial<FrontProxyFacts>, RegExp][] = [
    [
      'an API server that rejects it',
      { servers: [{ name: 'cp2', isOwn: false, ...onlyOld }] },
      /^waiting: kube-apiserver on cp2 rejects a front-proxy certificate from the new CA$/,
    ],
    [
      'the ConfigMap without it',
      { published: [old.authority] },
      /^waiting: kube-system\/extension-apiserver-authentication lacks the new CA in requestheader/,
    ],
    [
      'an extension API server that has not loaded it',
      { apis: [{ ...api, servers: [{ ...extension, ...onlyOld }] }] },
      /^waiting: the extension API server 10\.244\.0\.7:10443 of v1\.example\.com rejects/,
    ],
    [
      'an extension API server that cannot be reached',
      {
        apis: [
          {
            ...api,
            servers: [{ ...extension, ...both, next: { kind: 'failed', reason: 'timeout' } }],
          },
        ],
      },
      /^waiting: the extension API server .* does not answer a probe: timeout$/,
    ],
    [
      'an APIService that is not Available',
      { apis: [{ ...api, unavailable: 'no response', servers: [] }] },
      /^waiting: the APIService v1\.example\.com is not Available: no response$/,
    ],
    [
      'an APIService without endpoints',
      { apis: [{ ...api, servers: [] }] },
      /^waiting: the Service of the APIService v1\.example\.com has no ready endpoint/,
    ],
  ];
  for (const [what, changed, message] of cases) {
    it(`names ${what}`, () => {
      const [first = '', ...more] = texts(rejectionsOf('next', facts(changed), question()));
      assert.match(first, message);
      assert.deepEqual(more, []);
      const ignored = question('cp2', api.name);
      const isConfigMap = changed.published !== undefined;
      assert.equal(rejectionsOf('next', facts(changed), ignored).length, isConfigMap ? 1 : 0);
    });
  }

  it('is harmful if a kube-apiserver uses a certificate that is rejected', () => {
    const changed = { servers: [{ name: 'cp1', isOwn: true, ...onlyOld }], others: [cp2(next)] };
    const [reason] = rejectionsOf('next', facts(changed), question());
    assert.equal(reason?.state, 'harmful');
    assert.match(reason.remedy ?? '', /^Run on cp1: .* apply trust --ca front-proxy$/);
  });
});

describe('oldProxies()', () => {
  const cases = [
    ['the old CA', cp2(old), /^waiting: the node cp2 has not reported the new CA as the issuer/],
    ['nothing', cp2(), /^waiting: the node cp2 has not reported the issuer/],
  ] as const;
  for (const [what, other, message] of cases) {
    it(`names a node that reports ${what}`, () => {
      const [first = '', ...more] = texts(oldProxies(facts({ others: [other] }), question()));
      assert.match(first, message);
      assert.deepEqual(more, []);
    });
  }

  it('finds nothing once every other node reports the new CA, or is ignored', () => {
    assert.deepEqual(oldProxies(facts({ others: [cp2(next)] }), question()), []);
    assert.deepEqual(oldProxies(facts({ others: [cp2()] }), question('cp2')), []);
  });
});

describe('nextProxies()', () => {
  it('names the nodes with a certificate from the new CA', () => {
    assert.deepEqual(nextProxies(facts(), question(), false), []);
    const [reason] = nextProxies(facts({ others: [cp2(next)] }), question(), true);
    assert.deepEqual(reason?.objects, ['cp1', 'cp2']);
  });

  it('names a node that has reported no issuer, unless it is excepted', () => {
    const unknown = facts({ others: [cp2()] });
    const [reason] = nextProxies(unknown, question());
    assert.deepEqual(reason?.objects, ['cp2']);
    assert.deepEqual(nextProxies(unknown, question('cp2')), []);
  });
});

function withCp2(probe: FrontProxyProbe): FrontProxyFacts {
  return facts({ servers: [{ name: 'cp2', isOwn: false, ...probe }] });
}

describe('unanswered()', () => {
  const failed = { kind: 'failed', reason: 'socket hang up' } as const;
  it('names an API server that may still accept the old CA, unless it is excepted', () => {
    const found = withCp2({ old: failed, next: accepted });
    assert.deepEqual(texts(unanswered('old', found, question())), [
      'waiting: kube-apiserver on cp2 does not answer a probe: socket hang up',
    ]);
    assert.deepEqual(unanswered('old', found, question('cp2')), []);
  });

  it('leaves a server that answers no probe to rejectionsOf()', () => {
    const found = withCp2({ old: failed, next: failed });
    assert.deepEqual(unanswered('old', found, question()), []);
    assert.equal(rejectionsOf('next', found, question()).length, 1);
  });

  it('names that server before abort, which has no such rejections', () => {
    const found = withCp2({ old: failed, next: failed });
    assert.equal(unanswered('next', found, question()).length, 1);
    const answering = withCp2({ old: failed, next: accepted });
    assert.deepEqual(unanswered('next', answering, question()), []);
  });
});
