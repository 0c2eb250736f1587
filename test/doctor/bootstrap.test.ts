import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { day, minute } from '../../src/core/instant.ts';
import type { BootstrapFacts } from '../../src/doctor/bootstrap.ts';
import { bootstrapFindings } from '../../src/doctor/bootstrap.ts';
import type { KubeconfigState } from '../../src/doctor/kubeconfig-state.ts';
import { summaryOf, textOf } from './findings.ts';

const now = Date.UTC(2026, 0, 15);
const path = '/etc/kubernetes/bootstrap-kubelet.conf';
const loaded = {
  kind: 'loaded',
  path,
  mode: 0o600,
  server: 'https://10.0.0.1:6443',
  insecure: false,
  user: { name: 'bootstrap', embedsCertificate: false, holdsSecret: true },
  followsPair: false,
  token: { kind: 'bootstrap', id: 'abcdef' },
} as const satisfies KubeconfigState;
const bearer = { username: 'system:bootstrap:abcdef', groups: ['system:bootstrappers'] };
const healthy: BootstrapFacts = { kubeconfig: loaded, record: 'forbidden', identity: bearer };
const { token: _, ...noToken } = loaded;
const unauthorized = { code: 'API_UNAUTHORIZED', message: '401' } as const;

describe('bootstrapFindings()', () => {
  /** What is found when everything hangs on it, and what while the node has a certificate. */
  const rows: readonly (readonly [string, Partial<BootstrapFacts>, string, string?])[] = [
    ['an accepted token', {}, 'ok bootstrap-credential', 'ok bootstrap-credential'],
    [
      'a token nobody was asked about',
      { identity: { code: 'API_UNREACHABLE', message: 'gone' } },
      'info bootstrap-credential',
      'info bootstrap-credential',
    ],
    [
      'no file',
      { kubeconfig: { kind: 'missing', path } },
      'error bootstrap-missing',
      'info bootstrap-missing',
    ],
    [
      'a broken file',
      {
        kubeconfig: {
          kind: 'invalid',
          path,
          failure: { code: 'KUBECONFIG_INVALID', message: 'x', remedy: 'y' },
        },
      },
      'error bootstrap-invalid',
      'info bootstrap-invalid',
    ],
    ['no Secret', { record: 'absent' }, 'error bootstrap-expired', 'info bootstrap-expired'],
    [
      'an expired Secret',
      { record: { forAuthentication: true, expiration: now } },
      'error bootstrap-expired',
      'info bootstrap-expired',
    ],
    [
      'a Secret about to expire',
      { record: { forAuthentication: true, expiration: now + minute } },
      'warning bootstrap-expiring',
      'ok bootstrap-credential',
    ],
    [
      'a token for signing only',
      { record: { forAuthentication: false } },
      'error bootstrap-refused',
      'info bootstrap-refused',
    ],
    [
      'a Secret without an end',
      { record: { forAuthentication: true } },
      'ok bootstrap-credential',
      'ok bootstrap-credential',
    ],
    [
      'a refused token',
      { identity: unauthorized },
      'error bootstrap-refused',
      'info bootstrap-refused',
    ],
    [
      'an exec plugin that fails',
      { identity: { code: 'PLUGIN_FAILED', message: 'x', remedy: 'y' } },
      'info bootstrap-credential',
      'info plugin-failed',
    ],
    [
      'a JWT past its exp',
      { kubeconfig: { ...noToken, token: { kind: 'other', expiry: now - 1 } }, record: 'unknown' },
      'error bootstrap-expired',
      'info bootstrap-expired',
    ],
    [
      'a certificate past its end',
      { kubeconfig: { ...noToken, certificateExpiry: now - 1 }, record: 'unknown' },
      'error bootstrap-expired',
      'info bootstrap-expired',
    ],
    [
      'a certificate with time left',
      { kubeconfig: { ...noToken, certificateExpiry: now + day }, record: 'unknown' },
      'ok bootstrap-credential',
      'ok bootstrap-credential',
    ],
    [
      'the certificate of another node',
      { identity: { username: 'system:node:other', groups: ['system:nodes'] } },
      'error node-name-mismatch',
      'warning node-name-mismatch',
    ],
    [
      'the certificate of this node',
      { identity: { username: 'system:node:n1', groups: ['system:nodes'] } },
      'ok bootstrap-credential',
      'ok bootstrap-credential',
    ],
    [
      'a token for all to read',
      { kubeconfig: { ...loaded, mode: 0o644 } },
      'warning kubeconfig-permissions',
      'warning kubeconfig-permissions',
    ],
  ];
  for (const [name, changes, needed, spare] of rows) {
    const facts = { ...healthy, ...changes };
    it(`finds ${needed} for ${name} when the node has nothing else`, () => {
      const findings = bootstrapFindings(facts, { now, nodeName: 'n1', needed: true });
      assert.deepEqual(summaryOf(findings), [needed]);
    });
    it(`finds ${spare} for ${name} when it has a certificate`, () => {
      const findings = bootstrapFindings(facts, { now, nodeName: 'n1', needed: false });
      assert.deepEqual(summaryOf(findings), [spare]);
    });
  }

  it('says what is not known, and until when what is', () => {
    const context = { now, nodeName: 'n1', needed: true };
    assert.match(textOf(bootstrapFindings(healthy, context)), /until when is not known/);
    const record = { forAuthentication: true, expiration: now + day };
    assert.match(
      textOf(bootstrapFindings({ ...healthy, record }, context)),
      /until 2026-01-16T00:00:00Z/,
    );
  });
});
