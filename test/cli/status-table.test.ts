import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { CertificateReport } from '../../src/cli/status-report.ts';
import { kubeletServingSigner } from '../../src/core/certificate-spec.ts';
import { remedies } from '../../src/core/remedies.ts';
import type { PkiStatus } from '../../src/core/status.ts';
import { statusTable } from '../../src/cli/status-table.ts';
import { start } from './statuses.ts';

function remarks(change: Partial<CertificateReport>): string[] {
  const entry = { name: 'a', path: '/pki/a', condition: 'missing', overdue: false } as const;
  const table = statusTable({
    source: 'directory',
    nodeName: 'worker-1',
    certificateDirectory: '/pki',
    now: start,
    certificates: [{ ...entry, ...change }],
  });
  return table.trimEnd().split('\n').slice(5);
}

function pkiLines(change: Partial<PkiStatus>): string[] {
  const pki: PkiStatus = {
    directory: '/etc/kubernetes',
    state: 'not-due',
    since: start,
    problems: [],
    ...change,
  };
  const table = statusTable({
    source: 'directory',
    nodeName: 'cp-1',
    certificateDirectory: '/pki',
    now: start,
    certificates: [],
    pki,
  });
  return table.trimEnd().split('\n').slice(4);
}

describe('statusTable()', () => {
  it('mentions a kubeconfig that cannot be used beside valid certificates', () => {
    const table = statusTable({
      source: 'directory',
      nodeName: 'worker-1',
      certificateDirectory: '/pki',
      now: start,
      certificates: [],
      kubeconfig: { code: 'KUBECONFIG_INVALID', message: 'kubeconfig /k is empty', remedy: 'Do' },
    });
    assert.match(table, /\nkubelet: kubeconfig \/k is empty \(KUBECONFIG_INVALID\)\n  → Do\n$/);
  });

  it('mentions an API server that cannot be verified beside valid certificates', () => {
    const table = statusTable({
      source: 'agent',
      nodeName: 'worker-1',
      certificateDirectory: '/pki',
      now: start,
      certificates: [],
      trust: { code: 'CLUSTER_UNTRUSTED', message: 'no CA is pinned', remedy: 'Run discover' },
    });
    assert.match(table, /\nAPI server: no CA is pinned \(CLUSTER_UNTRUSTED\)\n  → Run discover\n$/);
  });

  const failure = { code: 'CSR_DENIED', message: 'denied', remedy: 'Ask' } as const;
  const message = 'hook reload a.service failed with exit code 1';
  const hookFailure = { code: 'HOOK_FAILED', message, remedy: 'See its lines' } as const;
  const denied = ['', 'a: denied (CSR_DENIED)', '  → Ask'];
  const cases: readonly (readonly [string, Partial<CertificateReport>, readonly string[]])[] = [
    ['nothing if nothing failed', {}, []],
    [
      'the next attempt after a failure',
      { failure, nextAttempt: start + 18_000 },
      [...denied, 'a: next attempt in 18s'],
    ],
    ['no next attempt if its time has passed', { failure, nextAttempt: start - 18_000 }, denied],
    [
      'failed hooks and endpoints that serve another certificate',
      {
        hooks: [
          { name: '/bin/a', succeededAt: start },
          { name: 'reload a.service', failure: { ...hookFailure, at: start } },
        ],
        served: {
          at: start,
          endpoints: [
            { endpoint: '127.0.0.1:1', state: 'current' },
            { endpoint: '[::1]:1', state: 'other', serial: '7', notAfter: start },
          ],
        },
      },
      [
        '',
        'a: hook reload a.service failed with exit code 1 (HOOK_FAILED)',
        '  → See its lines',
        'a: [::1]:1 serves another certificate (serial 7, valid until 2026-01-01T12:00:00Z)',
        `  → ${remedies.SERVED_STALE}`,
      ],
    ],
    ['nothing if every hook succeeded', { hooks: [{ name: 'a', succeededAt: start }] }, []],
    [
      'what an approved CSR waits for',
      { state: 'pending-issuance', csr: { name: 'csr-1', uid: '1', createdAt: start } },
      [
        '',
        'a: CSR csr-1 is approved but not issued yet',
        '  → Check that its signer is running: kubectl describe csr csr-1',
      ],
    ],
    [
      'for how long a CSR has been pending',
      {
        state: 'pending-approval',
        csr: { name: 'csr-1', uid: '1', createdAt: start - 3 * 3_600_000 },
      },
      [
        '',
        'a: CSR csr-1 has been pending for 3h',
        '  → Approve it: kubectl certificate approve csr-1',
      ],
    ],
    [
      'who knows why a serving CSR is pending',
      {
        state: 'pending-approval',
        signerName: kubeletServingSigner,
        csr: { name: 'csr-1', uid: '1', createdAt: start - 3 * 3_600_000 },
      },
      [
        '',
        'a: CSR csr-1 has been pending for 3h',
        '  → Approve it: kubectl certificate approve csr-1; if nodecertd approver runs in the cluster, it tells an administrator why the CSR waits: nodecertd approver explain csr-1',
      ],
    ],
    [
      'why nodecertd approver holds a CSR',
      {
        state: 'pending-approval',
        signerName: kubeletServingSigner,
        csr: {
          name: 'csr-1',
          uid: '1',
          createdAt: start - 3 * 3_600_000,
          hold: { reason: 'AddressesEmpty', message: 'Node a has no address', remedy: 'Set one' },
        },
      },
      [
        '',
        'a: CSR csr-1 has been pending for 3h; nodecertd approver holds it: AddressesEmpty: Node a has no address',
        '  → Set one',
      ],
    ],
    [
      'why a request is delayed although nothing failed',
      { state: 'backing-off', nextAttempt: start + 60_000 },
      [
        '',
        'a: earlier runs of the agent left unfinished CSRs, so the next CSR is delayed',
        '  → Request the certificate now: nodecertd renew a; find out why the agent restarted: journalctl -u nodecertd',
        'a: next attempt in 1m',
      ],
    ],
    [
      'that the Node has no address',
      { state: 'waiting-for-addresses' },
      [
        '',
        'a: the Node has no IP address yet, and a serving certificate needs one',
        '  → Check that the kubelet or the cloud controller sets the addresses: kubectl get node -o wide',
      ],
    ],
    ['the failure to read the addresses', { state: 'waiting-for-addresses', failure }, denied],
    ['the failure of an attempt instead of the delay', { state: 'backing-off', failure }, denied],
    [
      'that the kubelet rotates it',
      { state: 'observing' },
      [
        '',
        'a: the kubelet rotates this certificate; nodecertd only observes it',
        '  → Let nodecertd rotate it with: nodecertd adopt',
      ],
    ],
    ['nothing for an attempt in the past', { nextAttempt: start - 18_000 }, []],
  ];
  for (const [name, change, expected] of cases) {
    it(`shows ${name}`, () => assert.deepEqual(remarks(change), expected));
  }

  it('has a row for the control-plane certificates', () => {
    const nextDue = { name: 'apiserver', time: start + 3_600_000 };
    assert.deepEqual(pkiLines({ nextDue }), [
      '/etc/kubernetes  not-due    -        -     in 1h     -',
    ]);
  });

  it('shows why their renewal waits or failed, and the next check', () => {
    const lines = pkiLines({
      state: 'waiting',
      waitsFor: 'cp-2 holds the Lease',
      failure: { ...failure, at: start },
      problems: [{ name: 'apiserver', reason: 'the key of the CA is missing', remedy: 'Import' }],
      nextCheck: start + 60_000,
      hooks: [{ name: '/bin/a', failure: { ...hookFailure, at: start } }],
    });
    assert.deepEqual(lines.slice(1), [
      '',
      '/etc/kubernetes: cp-2 holds the Lease',
      '/etc/kubernetes: denied (CSR_DENIED)',
      '  → Ask',
      '/etc/kubernetes: apiserver: the key of the CA is missing',
      '  → Import',
      '/etc/kubernetes: hook reload a.service failed with exit code 1 (HOOK_FAILED)',
      '  → See its lines',
      '/etc/kubernetes: next check in 1m',
    ]);
  });
});
