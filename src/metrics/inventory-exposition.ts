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
) => { readonly labels?: string; readonly value: number } | undefined;

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
    sample: ({ state }) => ({ labels: `,state="${escaped(state)}"`, value: 1 }),
  },
  {
    name: 'nodecertd_inventory_info',
    help: 'Always 1; the labels identify the certificate.',
    sample: ({ certificate }) => {
      if (certificate === undefined) return undefined;
      const { serial, subject, issuer } = certificate;
      const names = `subject="${escaped(subject)}",issuer="${escaped(issuer)}"`;
      return { labels: `,serial="${escaped(serial)}",${names}`, value: 1 };
    },
  },
];

/**
 * An inventory in the text format of Prometheus, piece by piece. Written without prom-client,
 * which takes most of the time and memory of a scan with thousands of files. Reads the rows again
 * for each metric instead of keeping their text. The time of the scan is the last line, so that a
 * reader knows whether the text is complete.
 * @param rows rows of one kind and name follow one another
 */
export function* inventoryExposition(
  rows: Iterable<InventorySeries>,
  scannedAt: Instant,
): Generator<string, void> {
  for (const { name, help, sample } of metrics) {
    yield head(name, help);
    for (const row of uniqueRows(rows)) {
      const found = sample(row);
      if (found === undefined) continue;
      yield `${name}{${labelsOf(row)}${found.labels ?? ''}} ${found.value}\n`;
    }
  }
  const scanned = 'nodecertd_inventory_last_scan_timestamp_seconds';
  yield `${head(scanned, 'Time of the last scan, as a Unix time.')}${scanned} ${scannedAt / second}\n`;
}

/**
 * Leaves out repeated rows, because Prometheus rejects a second sample of one series. A file with
 * a certificate and a malformed block has two rows.
 */
function* uniqueRows(rows: Iterable<InventorySeries>): Generator<InventorySeries, void> {
  let namesakes: InventorySeries[] = [];
  for (const row of rows) {
    const [first = row] = namesakes;
    if (row.name !== first.name || row.kind !== first.kind) {
      yield* unique(namesakes);
      namesakes = [];
    }
    namesakes.push(row);
  }
  yield* unique(namesakes);
}

function unique(rows: InventorySeries[]): Iterable<InventorySeries> {
  if (rows.length === 1) return rows;
  const series = (row: InventorySeries): string =>
    row.certificate === undefined ? `${labelsOf(row)} ${row.state}` : labelsOf(row);
  return new Map(rows.map((row) => [series(row), row])).values();
}

function head(name: string, help: string): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} gauge\n`;
}

function labelsOf({ name, kind, place, entry }: InventorySeries): string {
  return `name="${escaped(name)}",kind="${kind}",place="${escaped(place)}",entry="${escaped(entry)}"`;
}

function escaped(value: string): string {
  return value.replace(/[\\"\n]/g, (character) => (character === '\n' ? '\\n' : `\\${character}`));
}
