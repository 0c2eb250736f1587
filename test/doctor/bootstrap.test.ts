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

const context = { now, nodeName: 'n1', isOptional: false };

describe('bootstrapFindings()', () => {
  /** The finding if the node needs the credential, and the finding if it has a certificate. */
  const rows: readonly (readonly [string, Partial<BootstrapFacts>, string, string?])[] = [
    ['an accepted token', {}, 'ok bootstrap-credential', 'ok bootstrap-credential'],
    [
      'a token that could not be checked',
      { identity: { code: 'API_UNREACHABLE', message: 'gone' } },
      'info bootstrap-credential',
      'info bootstrap-credential',
    ],
    [
      'a missing file',
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
    ['a missing Secret', { record: 'absent' }, 'error bootstrap-expired', 'info bootstrap-expired'],
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
      'a Secret without an expiry',
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
      'an expired JWT',
      { kubeconfig: { ...noToken, token: { kind: 'other', expiry: now - 1 } }, record: 'unknown' },
      'error bootstrap-expired',
      'info bootstrap-expired',
    ],
    [
      'an expired certificate',
      { kubeconfig: { ...noToken, certificateExpiry: now - 1 }, record: 'unknown' },
      'error bootstrap-expired',
      'info bootstrap-expired',
    ],
    [
      'a valid certificate',
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
      'a token that other users can read',
      { kubeconfig: { ...loaded, mode: 0o644 } },
      'warning kubeconfig-permissions',
      'warning kubeconfig-permissions',
    ],
  ];
  for (const [name, changes, needed, spare] of rows) {
    const facts = { ...healthy, ...changes };
    it(`finds ${needed} for ${name} without a certificate`, () => {
      const findings = bootstrapFindings(facts, { ...context, needed: true });
      assert.deepEqual(summaryOf(findings), [needed]);
    });
    it(`finds ${spare} for ${name} with a certificate`, () => {
      const findings = bootstrapFindings(facts, { ...context, needed: false });
      assert.deepEqual(summaryOf(findings), [spare]);
    });
  }

  it('accepts a missing file that the node can do without', () => {
    const missing: BootstrapFacts = { ...healthy, kubeconfig: { kind: 'missing', path } };
    const findings = bootstrapFindings(missing, { ...context, needed: true, isOptional: true });
    assert.deepEqual(findings, []);
  });

  it('shows the expiry, or that it is unknown', () => {
    const asked = { ...context, needed: true };
    assert.match(textOf(bootstrapFindings(healthy, asked)), /its expiry is unknown/);
    const record = { forAuthentication: true, expiration: now + day };
    assert.match(
      textOf(bootstrapFindings({ ...healthy, record }, asked)),
      /expires at 2026-01-16T00:00:00Z/,
    );
  });
});
