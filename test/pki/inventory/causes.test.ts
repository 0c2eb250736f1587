import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { day } from '../../../src/core/instant.ts';
import type { InventoryCertificate } from '../../../src/pki/inventory/certificate.ts';
import { causesOf } from '../../../src/pki/inventory/causes.ts';
import type { InventoryItem } from '../../../src/pki/inventory/inventory.ts';
import { asRoot } from '../../../src/pki/renewal/refusal.ts';
import { kubeadmCertificates } from '../../../src/pki/layout.ts';

const now = Date.UTC(2026, 10, 28, 12);

type Row = {
  readonly [K in Exclude<keyof InventoryItem, 'certificate'>]?: InventoryItem[K] | undefined;
} & { readonly days?: number };

/** A row of kubeadm unless `managedBy` says otherwise. */
function row(name: string, { days = 100, section = 'certificate', ...rest }: Row): InventoryItem {
  const certificate = {
    sha256: name,
    subject: `CN=${name}`,
    notBefore: now - 300 * day,
    notAfter: now + days * day,
    isAuthority: section === 'authority',
  } as unknown as InventoryCertificate;
  return {
    name,
    section,
    places: [{ path: `/etc/kubernetes/pki/${name}.crt` }],
    certificate,
    usedBy: [],
    managedBy: 'kubeadm',
    authority: { name: 'ca', sha256: 'ca', external: false },
    state: 'ok',
    remedy: `Renew it: nodecertd certs renew ${name}`,
    ...rest,
  } as InventoryItem;
}

function authority(name: string, rest: Row): InventoryItem {
  return row(name, {
    section: 'authority',
    remedy: 'Replace the CA',
    ...rest,
    authority: undefined,
  });
}

function causes(...items: readonly InventoryItem[]): string[] {
  return causesOf({ items, now }).map(({ state, what, remedy }) => `${state}: ${what} → ${remedy}`);
}

function unreadable(name: string, reason: string): InventoryItem {
  return row(name, {
    state: 'unreadable',
    reason,
    remedy: `Repair or delete /etc/kubernetes/pki/${name}.crt`,
  });
}

function isUrgent(item: InventoryItem): boolean | undefined {
  return causesOf({ items: [item], now })[0]?.isUrgent;
}

describe('causesOf()', () => {
  it('has nothing to say about rows that are ok', () => {
    assert.deepEqual(causes(row('apiserver', {}), authority('ca', { days: 3650 })), []);
  });

  it('has the reason and the remedy of a single row', () => {
    const one = row('apiserver', { state: 'expired', reason: 'expired 5d ago', days: -5 });
    assert.deepEqual(causes(one, row('etcd-peer', {})), [
      'expired: apiserver: expired 5d ago → Renew it: nodecertd certs renew apiserver',
    ]);
  });

  it('joins certificates that expire together, with one command for all', () => {
    const names = kubeadmCertificates.map(({ name }) => name);
    const all = names.map((name, at) => row(name, { state: 'expiring', days: 20 + at }));
    assert.deepEqual(causes(...all), [
      `expiring: 11 certificates expire soon, the first in 20d: ${names.slice(0, 5).join(', ')} and 6 more → ` +
        `Renew them: nodecertd certs renew ${names.join(' ')}`,
    ]);
  });

  it('separates certificates of an external CA, which need CSRs', () => {
    const external = { name: 'etcd-ca', sha256: 'etcd-ca', external: true };
    const peers = ['etcd-peer', 'etcd-server'].map((name) => {
      const remedy = `Create a CSR for the owner of its CA: nodecertd certs renew ${name} --csr-out DIR`;
      return row(name, { state: 'expired', days: -1, authority: external, remedy });
    });
    const found = causes(row('apiserver', { state: 'expired', reason: 'expired' }), ...peers);
    assert.equal(found.length, 2);
    assert.match(
      found[1] ?? '',
      /Create CSRs for .*: nodecertd certs renew etcd-peer etcd-server --csr-out DIR$/,
    );
  });

  it('names a CA that ends certificates, instead of each certificate', () => {
    const leaves = ['apiserver', 'admin.conf'].map((name) => row(name, { state: 'ca-ends-first' }));
    const ending = authority('ca', { state: 'expiring', days: 90 });
    assert.deepEqual(causes(...leaves, ending), [
      'ca-ends-first: the CA ca expires in 90d, which affects 2 certificates that it signed: apiserver, admin.conf → Replace the CA',
    ]);
    // The CA of the leaves may have a year left, and so be ok itself.
    const sound = authority('ca', { days: 360, remedy: undefined });
    const plan = leaves.map((leaf) => ({ ...leaf, remedy: 'Plan the replacement of the CA' }));
    assert.deepEqual(causes(...plan, sound), [
      'ca-ends-first: the CA ca expires in 360d, which affects 2 certificates that it signed: apiserver, admin.conf → Plan the replacement of the CA',
    ]);
  });

  it('blames an expired CA for the leaves that expired with it', () => {
    const leaves = ['apiserver', 'admin.conf'].map((name) => row(name, { state: 'expired' }));
    const over = authority('ca', { state: 'expired', days: -2 });
    const peer = row('etcd-peer', {
      state: 'expired',
      reason: 'expired 1d ago',
      authority: { name: 'etcd-ca', sha256: 'etcd-ca', external: false },
    });
    assert.deepEqual(causes(...leaves, peer, over), [
      'expired: the CA ca expired 2d ago, which affects 2 certificates that it signed: apiserver, admin.conf → Replace the CA',
      'expired: etcd-peer: expired 1d ago → Renew it: nodecertd certs renew etcd-peer',
    ]);
  });

  it('shows three commands, and how to list the others', () => {
    const files = ['a', 'b', 'c', 'd'].map((name) =>
      row(name, {
        section: 'other',
        state: 'mode',
        managedBy: undefined,
        remedy: `Run: chmod o= /etc/kubernetes/pki/${name}.key`,
      }),
    );
    const pki = '/etc/kubernetes/pki';
    const listed = causes(...files.slice(0, 2))[0];
    assert.match(listed ?? '', new RegExp(`Run: chmod o= ${pki}/a.key; chmod o= ${pki}/b.key$`));
    assert.match(
      causes(...files)[0] ?? '',
      /c\.key; list the others: nodecertd certs check-expiration --only mode$/,
    );
  });

  it('separates unreadable files by their reason', () => {
    const found = causes(
      unreadable('a', 'is empty'),
      unreadable('b', 'is empty'),
      unreadable('c', 'is a loop of links'),
    );
    assert.deepEqual(
      found.map((text) => text.split(' → ')[0]),
      ['unreadable: 2 files cannot be read: a, b', 'unreadable: c: is a loop of links'],
    );
  });

  it('joins the files that this user may not read, which are not urgent', () => {
    const forbidden = ['admin.conf', 'scheduler.conf'].map((name) =>
      row(name, {
        state: 'unreadable',
        reason: `cannot be read: EACCES: permission denied, open '${name}'`,
        remedy: asRoot,
      }),
    );
    assert.deepEqual(causesOf({ items: forbidden, now }), [
      {
        state: 'unreadable',
        what: '2 files cannot be read: admin.conf, scheduler.conf',
        remedy: asRoot,
        isUrgent: false,
      },
    ]);
  });

  it('knows whether a program of this node uses a file', () => {
    const copy = { state: 'stale-copy', section: 'other', reason: 'is an old copy' } as const;
    const used = { ...copy, usedBy: [{ component: 'kube-proxy', flag: 'kubeconfig' }] };
    assert.equal(isUrgent(row('/home/alice/.kube/config', copy)), false);
    assert.equal(isUrgent(row('/home/alice/.kube/config', used)), true);
    assert.equal(isUrgent(row('etcd', { ...copy, section: 'served' })), true);
  });
});
