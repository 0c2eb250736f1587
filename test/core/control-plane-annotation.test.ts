import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ControlPlaneAnnotation } from '../../src/core/control-plane-annotation.ts';
import {
  formatControlPlaneAnnotation,
  parseControlPlaneAnnotation,
} from '../../src/core/control-plane-annotation.ts';
import { longestTrustAnnotation } from '../../src/core/trust-annotation.ts';

const [old, next, leaf] = ['0123456789abcdef', 'fedcba9876543210', 'aaaaaaaabbbbbbbb'];
const noon = Date.UTC(2026, 10, 29, 12);

const annotation: ControlPlaneAnnotation = {
  authorities: [old, next],
  next,
  signer: old,
  leaves: {
    apiserver: { issuer: next, fingerprint: leaf },
    'apiserver-kubelet-client': { issuer: '', fingerprint: '' },
    'admin.conf': { issuer: old, fingerprint: leaf },
  },
  kubeletClientChangedAt: noon - 60_000,
  kubeletAuthority: { authorities: [next], changedAt: noon },
  etcdAuthorities: 1,
  frontProxyAuthorities: 2,
  frontProxyClient: next,
  startedAt: { 'kube-apiserver': noon },
  reportedAt: noon,
};

const text = `{"v":1,"cas":["${old}","${next}"],"ca":[0,1],"next":1,"signer":0,"leaf":{"apiserver":[1,"${leaf}"],"apiserver-kubelet-client":[-1,""],"admin.conf":[0,"${leaf}"]},"kubeletClient":"2026-11-29T11:59:00Z","kubeletCA":{"ca":[1],"t":"2026-11-29T12:00:00Z"},"etcd":1,"frontProxy":2,"frontProxyClient":"${next}","started":{"kube-apiserver":"2026-11-29T12:00:00Z"},"t":"2026-11-29T12:00:00Z"}`;

const least: ControlPlaneAnnotation = {
  authorities: [],
  leaves: {},
  startedAt: {},
  reportedAt: noon,
};

describe('formatControlPlaneAnnotation()', () => {
  it('writes each CA once', () => {
    assert.equal(formatControlPlaneAnnotation(annotation), text);
  });

  it('leaves out what the node does not have', () => {
    assert.equal(
      formatControlPlaneAnnotation(least),
      '{"v":1,"cas":[],"ca":[],"leaf":{},"started":{},"t":"2026-11-29T12:00:00Z"}',
    );
  });

  it('stays below the limit with sixteen CAs in both files', () => {
    const cas = Array.from({ length: 16 }, (_, index) => index.toString(16).padStart(16, '0'));
    const names = ['apiserver', 'apiserver-kubelet-client', 'admin.conf', 'super-admin.conf'];
    const all = [...names, 'controller-manager.conf', 'scheduler.conf'];
    const longest = formatControlPlaneAnnotation({
      ...annotation,
      authorities: cas,
      leaves: Object.fromEntries(
        all.map((name) => [name, { issuer: cas[15] ?? '', fingerprint: leaf }]),
      ),
      kubeletAuthority: { authorities: cas, changedAt: noon },
      startedAt: { 'kube-apiserver': noon, 'kube-controller-manager': noon },
    });
    assert.ok(longest.length <= longestTrustAnnotation, `${longest.length}`);
    assert.deepEqual(parseControlPlaneAnnotation(longest)?.authorities, cas);
  });
});

describe('parseControlPlaneAnnotation()', () => {
  for (const one of [annotation, least, { ...annotation, signer: '' }]) {
    it(`reads what was written, with the signer ${one.signer}`, () => {
      assert.deepEqual(parseControlPlaneAnnotation(formatControlPlaneAnnotation(one)), one);
    });
  }

  it('reads a file of CAs that the node could not read', () => {
    const unread = { ...annotation, kubeletAuthority: { authorities: [] } };
    assert.deepEqual(parseControlPlaneAnnotation(formatControlPlaneAnnotation(unread)), unread);
  });

  for (const [what, damaged] of [
    ['another version', text.replace('"v":1', '"v":2')],
    ['a short fingerprint', text.replace(old, old.slice(1))],
    ['an index without a CA', text.replace('"ca":[0,1]', '"ca":[0,2]')],
    ['an unknown CA in a file', text.replace('"ca":[0,1]', '"ca":[-1]')],
    ['an unknown new CA', text.replace('"next":1', '"next":-1')],
    ['a signer that is a text', text.replace('"signer":0', '"signer":"0"')],
    ['an issuer that is a property', text.replace('[1,"', '["length","')],
    ['a hash that is too long', text.replace(leaf, `${leaf}0`)],
    ['a certificate without a hash', text.replace('[-1,""]', '[-1]')],
    ['a name that is no certificate', text.replace('admin.conf', '/etc/admin.conf')],
    ['no certificates', text.replace(/"leaf":\{[^}]*\},/, '')],
    ['a text for certificates', text.replace(/"leaf":\{[^}]*\}/, '"leaf":""')],
    ['a count that is negative', text.replace('"etcd":1', '"etcd":-1')],
    [
      'a CA that is no fingerprint',
      text.replace(`"frontProxyClient":"${next}`, '"frontProxyClient":"x'),
    ],
    ['a count that is a fraction', text.replace('"frontProxy":2', '"frontProxy":1.5')],
    ['a count that is too large', text.replace('"etcd":1', '"etcd":1000')],
    ['another component', text.replace('"kube-apiserver"', '"kubelet"')],
    ['a time without a zone', text.replace('11:59:00Z', '11:59:00')],
    ['a time that does not exist', text.replace('11:59:00Z', '11:99:00Z')],
    ['a list instead of an object', `[${text}]`],
    ['text that is cut off', text.slice(0, -1)],
    ['a text that is too long', `${text}${' '.repeat(longestTrustAnnotation)}`],
  ] as const) {
    it(`refuses ${what}`, () => {
      assert.notEqual(damaged, text);
      assert.equal(parseControlPlaneAnnotation(damaged), undefined);
    });
  }
});
