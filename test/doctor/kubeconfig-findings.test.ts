import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { day } from '../../src/core/instant.ts';
import type { KubeconfigContext } from '../../src/doctor/kubeconfig-findings.ts';
import { kubeconfigFindings } from '../../src/doctor/kubeconfig-findings.ts';
import type { KubeconfigState } from '../../src/doctor/kubeconfig-state.ts';
import { summaryOf, textOf } from './findings.ts';

const year = 365 * day;
const now = Date.UTC(2026, 0, 15);
const path = '/etc/kubernetes/kubelet.conf';
const pairLink = '/pki/kubelet-client-current.pem';
const user = {
  name: 'default-auth',
  embedsCertificate: false,
  certificateFile: pairLink,
  keyFile: pairLink,
  holdsSecret: false,
};
const healthy = {
  kind: 'loaded',
  path,
  mode: 0o600,
  server: 'https://10.0.0.1:6443',
  insecure: false,
  user,
  followsPair: true,
  certificateExpiry: now + day,
  authority: { notBefore: now - 8 * year, notAfter: now + 2 * year },
} as const satisfies KubeconfigState;
const embedded = {
  ...healthy,
  followsPair: false,
  user: { ...user, embedsCertificate: true, holdsSecret: true },
};
const withPlugin: KubeconfigState = {
  kind: 'loaded',
  path,
  mode: 0o600,
  server: healthy.server,
  insecure: false,
  followsPair: false,
  user: { name: 'aws', embedsCertificate: false, holdsSecret: false, plugin: 'aws' },
};
const context: KubeconfigContext = { now, pairLink, hasIdentity: true, hasBootstrap: true };

describe('kubeconfigFindings()', () => {
  const rows: readonly (readonly [
    string,
    KubeconfigState,
    Partial<KubeconfigContext>,
    readonly string[],
  ])[] = [
    ['a kubeconfig that names the link', healthy, {}, ['ok kubeconfig']],
    ['a missing file', { kind: 'missing', path }, {}, ['info kubeconfig-missing']],
    [
      'a missing file without bootstrap',
      { kind: 'missing', path },
      { hasBootstrap: false },
      ['error kubeconfig-missing'],
    ],
    [
      'an invalid kubeconfig',
      { kind: 'invalid', path, failure: { code: 'KUBECONFIG_INVALID', message: 'x', remedy: 'y' } },
      {},
      ['error kubeconfig-invalid'],
    ],
    [
      'one that nodecertd does not support',
      {
        kind: 'invalid',
        path,
        failure: { code: 'KUBECONFIG_UNSUPPORTED', message: 'x', remedy: 'y' },
      },
      {},
      ['error kubeconfig-invalid'],
    ],
    ['an exec plugin', withPlugin, {}, ['warning kubeconfig-stale']],
    ['an exec plugin and no pair', withPlugin, { pairLink: undefined }, ['ok kubeconfig']],
    ['an embedded certificate', embedded, {}, ['warning kubeconfig-stale']],
    [
      'another file',
      { ...healthy, followsPair: false, user: { ...user, certificateFile: '/old.pem' } },
      {},
      ['warning kubeconfig-stale'],
    ],
    [
      'a kubeconfig without a managed certificate',
      embedded,
      { pairLink: undefined },
      ['ok kubeconfig'],
    ],
    [
      'an expired embedded certificate',
      { ...embedded, certificateExpiry: now },
      {},
      ['warning kubeconfig-stale', 'error kubeconfig-expired'],
    ],
    [
      'an expired certificate in a file that is not replaceable',
      {
        ...embedded,
        certificateExpiry: now,
        refusal: { code: 'KUBECONFIG_INVALID', message: 'x', remedy: 'y' },
      },
      { hasIdentity: false },
      ['warning kubeconfig-stale', 'error kubeconfig-expired', 'error kubeconfig-invalid'],
    ],
    [
      'an expired certificate behind the link',
      { ...healthy, certificateExpiry: now },
      {},
      ['ok kubeconfig'],
    ],
    ['a readable kubeconfig without secrets', { ...healthy, mode: 0o644 }, {}, ['ok kubeconfig']],
    [
      'a key that other users can read',
      { ...embedded, mode: 0o644 },
      { pairLink: undefined },
      ['warning kubeconfig-permissions'],
    ],
    ['no verification', { ...healthy, insecure: true }, {}, ['warning kubeconfig-insecure']],
    [
      'a CA near its expiry',
      { ...healthy, authority: { notBefore: now - 9 * year, notAfter: now + year } },
      {},
      ['warning cluster-ca-expiring'],
    ],
    [
      'an expired CA',
      { ...healthy, authority: { notBefore: now - 10 * year, notAfter: now } },
      {},
      ['error cluster-ca-expired'],
    ],
  ];
  for (const [name, state, changes, expected] of rows) {
    it(`finds ${expected.join(' and ')} for ${name}`, () => {
      assert.deepEqual(summaryOf(kubeconfigFindings(state, { ...context, ...changes })), expected);
    });
  }

  it('gives the command that points the kubeconfig at the link', () => {
    assert.match(
      textOf(kubeconfigFindings(embedded, context)),
      /^Show the required changes with: nodecertd adopt;/m,
    );
    const { certificateFile: _, keyFile: __, ...withToken } = { ...user, holdsSecret: true };
    assert.match(
      textOf(kubeconfigFindings({ ...healthy, followsPair: false, user: withToken }, context)),
      /kubectl config set-credentials default-auth --client-certificate=\/pki\/kubelet-client-current.pem --client-key=\/pki\/kubelet-client-current.pem --kubeconfig=\/etc\/kubernetes\/kubelet.conf/,
    );
  });

  it('says that an unsupported kubeconfig may work for the kubelet', () => {
    const failure = { code: 'KUBECONFIG_UNSUPPORTED', message: 'x' } as const;
    const findings = kubeconfigFindings({ kind: 'invalid', path, failure }, context);
    assert.match(
      textOf(findings),
      /nodecertd cannot use this kubeconfig; the kubelet may be able to/,
    );
  });

  it('names the plugin and both remedies', () => {
    const shown = textOf(kubeconfigFindings(withPlugin, context));
    assert.match(shown, /kubelet\.conf uses the exec plugin aws instead of \/pki/);
    assert.match(
      shown,
      /remove the certificate with the profile kubelet-client .* otherwise: kubectl/,
    );
  });
});
