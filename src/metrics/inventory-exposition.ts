import type { Instant } from '../core/instant.ts';
import { second } from '../core/instant.ts';

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

/** What one row adds to a metric; undefined for nothing. */
type Sample = (
  row: InventorySeries,
) => { readonly more?: Readonly<Record<string, string>>; readonly value: number } | undefined;

const metrics: readonly { readonly name: string; readonly help: string; sample: Sample }[] = [
  {
    name: 'nodecertd_inventory_not_before_timestamp_seconds',
    help: 'Start of the validity of a certificate that the inventory found, as a Unix time.',
    sample: ({ certificate }) => certificate && { value: certificate.notBefore / second },
  },
  {
    name: 'nodecertd_inventory_not_after_timestamp_seconds',
    help: 'End of the validity of a certificate that the inventory found, as a Unix time.',
    sample: ({ certificate }) => certificate && { value: certificate.notAfter / second },
  },
  {
    name: 'nodecertd_inventory_state',
    help: 'Always 1; the label state is the state of a certificate or file.',
    sample: ({ state }) => ({ more: { state }, value: 1 }),
  },
  {
    name: 'nodecertd_inventory_info',
    help: 'Always 1; the labels identify the certificate.',
    sample: ({ certificate }) => {
      if (certificate === undefined) return undefined;
      const { serial, subject, issuer } = certificate;
      return { more: { serial, subject, issuer }, value: 1 };
    },
  },
];

/**
 * An inventory in the text format of Prometheus, piece by piece. Written without prom-client,
 * which takes most of the time and memory of a scan with thousands of files. The time of the scan
 * is the last line, so that a reader knows whether the text is complete.
 */
export function* inventoryExposition(
  rows: readonly InventorySeries[],
  scannedAt: Instant,
): Generator<string, void> {
  const labeled = withLabels(rows);
  for (const { name, help, sample } of metrics) {
    yield head(name, help);
    for (const { labels, row } of labeled) {
      const found = sample(row);
      if (found === undefined) continue;
      const all = found.more === undefined ? labels : `${labels},${labelText(found.more)}`;
      yield `${name}{${all}} ${found.value}\n`;
    }
  }
  const scanned = 'nodecertd_inventory_last_scan_timestamp_seconds';
  yield `${head(scanned, 'Time of the last scan, as a Unix time.')}${scanned} ${scannedAt / second}\n`;
}

interface LabeledRow {
  readonly labels: string;
  readonly row: InventorySeries;
}

/**
 * Leaves out repeated rows, because Prometheus rejects a second sample of one series. A file with
 * a certificate and a malformed block has two rows.
 */
function withLabels(rows: readonly InventorySeries[]): Iterable<LabeledRow> {
  const unique = new Map<string, LabeledRow>();
  for (const row of rows) {
    const { name, kind, place, entry, state, certificate } = row;
    const labels = labelText({ name, kind, place, entry });
    unique.set(certificate === undefined ? `${labels} ${state}` : labels, { labels, row });
  }
  return [...unique.values()];
}

function head(name: string, help: string): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} gauge\n`;
}

function labelText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${escaped(value)}"`)
    .join(',');
}

function escaped(value: string): string {
  return value.replace(/[\\"\n]/g, (character) => (character === '\n' ? '\\n' : `\\${character}`));
}
