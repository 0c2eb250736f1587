import type { Instant } from '../core/instant.ts';
import { second } from '../core/instant.ts';
import { Gauge, Registry } from './prom-client.ts';

/** A certificate of an inventory at one of its places, or a file without a certificate. */
export interface InventorySeries {
  readonly name: string;
  /** `certificate`, `authority`, `kubelet`, `other`, `served`. */
  readonly kind: string;
  /** A file, or the address of an endpoint. */
  readonly place: string;
  /** The entry of a kubeconfig, the position in a bundle, or the server name. */
  readonly entry: string;
  readonly state: string;
  readonly certificate?:
    | undefined
    | {
        readonly serial: string;
        readonly subject: string;
        readonly issuer: string;
        readonly notBefore: Instant;
        readonly notAfter: Instant;
      };
}

const placeLabels = ['name', 'kind', 'place', 'entry'] as const;

/** An inventory as text for Prometheus. @param scannedAt the time of the scan */
export async function inventoryExposition(
  rows: readonly InventorySeries[],
  scannedAt: Instant,
): Promise<string> {
  const registry = new Registry();
  fillInventory(registry, rows, scannedAt);
  return registry.metrics();
}

function fillInventory(
  registry: Registry,
  rows: readonly InventorySeries[],
  scannedAt: Instant,
): void {
  const registers = [registry];
  const notBefore = new Gauge({
    name: 'nodecertd_inventory_not_before_timestamp_seconds',
    help: 'Start of the validity of a certificate that the inventory found, as a Unix time.',
    labelNames: placeLabels,
    registers,
  });
  const notAfter = new Gauge({
    name: 'nodecertd_inventory_not_after_timestamp_seconds',
    help: 'End of the validity of a certificate that the inventory found, as a Unix time.',
    labelNames: placeLabels,
    registers,
  });
  const state = new Gauge({
    name: 'nodecertd_inventory_state',
    help: 'Always 1; the label state is the state of a certificate or file.',
    labelNames: [...placeLabels, 'state'],
    registers,
  });
  const info = new Gauge({
    name: 'nodecertd_inventory_info',
    help: 'Always 1; the labels identify the certificate.',
    labelNames: [...placeLabels, 'serial', 'subject', 'issuer'],
    registers,
  });
  const scanned = new Gauge({
    name: 'nodecertd_inventory_last_scan_timestamp_seconds',
    help: 'Time of the last scan, as a Unix time.',
    registers,
  });
  scanned.set(scannedAt / second);
  for (const { state: current, certificate, name, kind, place, entry } of rows) {
    const labels = { name, kind, place, entry };
    state.set({ ...labels, state: current }, 1);
    if (certificate === undefined) continue;
    const { serial, subject, issuer } = certificate;
    notBefore.set(labels, certificate.notBefore / second);
    notAfter.set(labels, certificate.notAfter / second);
    info.set({ ...labels, serial, subject, issuer }, 1);
  }
}
