import { formatInstant, second } from '../core/instant.ts';
import type { InventorySeries } from '../metrics/inventory-exposition.ts';
import { altNames, publicKeyFacts, usages } from '../pki/inventory/certificate.ts';
import { bySection } from '../pki/inventory/inventory.ts';
import type { Inventory, InventoryItem } from '../pki/inventory/inventory.ts';
import { authorityNames, kubeadmCertificates } from '../pki/layout.ts';
import type { Place } from '../pki/inventory/sighting.ts';

/** The stable form for `-o json` and `-o yaml`. Contains no private key. */
export function inventoryDocument({ items, skipped, now }: Inventory): Record<string, unknown> {
  return {
    apiVersion: 'nodecertd.io/v1alpha1',
    kind: 'CertificateInventory',
    now: formatInstant(now),
    items: items.map((item) => itemDocument(item, now)),
    skipped,
  };
}

function itemDocument(item: InventoryItem, now: number): Record<string, unknown> {
  const { name, section, places, certificate, key, authority, state, reason, remedy } = item;
  return {
    name,
    kind: section,
    places,
    ...(certificate && {
      subject: certificate.subject,
      issuer: certificate.issuer,
      serial: certificate.serial,
      sha256: certificate.sha256,
      notBefore: formatInstant(certificate.notBefore),
      notAfter: formatInstant(certificate.notAfter),
      residualSeconds: Math.trunc((certificate.notAfter - now) / second),
      remainingFraction: remainingFraction(certificate, now),
      isAuthority: certificate.isAuthority,
      usages: usages(certificate),
      altNames: altNames(certificate),
      key: { ...publicKeyFacts(certificate), ...key },
    }),
    ca: authority,
    external: item.external,
    state,
    stateReason: reason,
    remedy,
    ...('verdict' in item && { verdict: item.verdict }),
    managedBy: item.managedBy,
    usedBy: item.usedBy,
    reload: item.reload,
  };
}

/** From 1 at notBefore to 0 at notAfter and later, with three digits. */
function remainingFraction(
  { notBefore, notAfter }: { readonly notBefore: number; readonly notAfter: number },
  now: number,
): number {
  const fraction = (notAfter - now) / Math.max(notAfter - notBefore, second);
  return Math.round(Math.min(Math.max(fraction, 0), 1) * 1000) / 1000;
}

/**
 * The JSON of `kubeadm certs check-expiration -o json` (output.kubeadm.k8s.io/v1alpha3, as in
 * kubeadm 1.37), for scripts that read it.
 */
export function kubeadmDocument({ items, now }: Inventory): string {
  const hasEtcd = items.some(({ name }) => name === 'etcd-ca');
  const isHere = (authority: string): boolean => authority !== 'etcd-ca' || hasEtcd;
  const find = (name: string): InventoryItem | undefined =>
    items.find((item) => item.name === name && item.certificate !== undefined);
  const leaves = kubeadmCertificates.filter(({ authority }) => isHere(authority));
  const document = {
    kind: 'CertificateExpirationInfo',
    apiVersion: 'output.kubeadm.k8s.io/v1alpha3',
    certificates: leaves.map(({ name, authority }) =>
      kubeadmEntry({ name, item: find(name), now, authority }),
    ),
    certificateAuthorities: authorityNames
      .filter(isHere)
      .map((name) => kubeadmEntry({ name, item: find(name), now })),
  };
  return `${JSON.stringify(document, null, 4)}\n`;
}

function kubeadmEntry({
  name,
  item,
  now,
  authority,
}: {
  readonly name: string;
  readonly item: InventoryItem | undefined;
  readonly now: number;
  readonly authority?: string;
}): Record<string, unknown> {
  if (item?.certificate === undefined) {
    const none = { expirationDate: null, residualTime: 0, externallyManaged: false };
    return { name, ...none, missing: true };
  }
  const { notAfter } = item.certificate;
  return {
    name,
    expirationDate: formatInstant(notAfter),
    residualTime: Math.trunc((notAfter - now) / second),
    externallyManaged: isExternal(item),
    ...(authority !== undefined && { caName: authority }),
    missing: false,
  };
}

/** The key of its CA, or of the CA itself, is not on this node. */
export function isExternal({
  authority,
  external,
}: Pick<InventoryItem, 'authority' | 'external'>): boolean {
  return external ?? authority?.external === true;
}

/** One series for each place, so that a query for a path finds it. Each iteration creates them again. */
export function inventorySeries({ items }: Pick<Inventory, 'items'>): Iterable<InventorySeries> {
  const sorted = items.toSorted(bySection);
  return {
    *[Symbol.iterator]() {
      for (const item of sorted) yield* item.places.map((place) => seriesAt(place, item));
    },
  };
}

function seriesAt(place: Place, item: InventoryItem): InventorySeries {
  const { name, section, state, certificate } = item;
  return {
    name,
    kind: section,
    state,
    place: place.path ?? place.endpoint ?? '',
    entry: place.entry ?? place.serverName ?? '',
    certificate,
  };
}

/** `/etc/kubernetes/admin.conf (user kubernetes-admin)` or `127.0.0.1:6443 (SNI foo)`. */
export function placeText({ path, entry, endpoint, serverName }: Place): string {
  if (endpoint !== undefined) {
    return serverName === undefined ? endpoint : `${endpoint} (SNI ${serverName})`;
  }
  return entry === undefined ? (path ?? '') : `${path} (${entry})`;
}
