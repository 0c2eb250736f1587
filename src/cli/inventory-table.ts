import { publicKeyFacts } from '../pki/inventory/certificate.ts';
import type { Inventory, InventoryItem } from '../pki/inventory/inventory.ts';
import type { InventoryState } from '../pki/inventory/judge.ts';
import { inventoryStates } from '../pki/inventory/judge.ts';
import type { Section } from '../pki/inventory/sighting.ts';
import { sections } from '../pki/inventory/sighting.ts';
import { isExternal, placeText } from './inventory-document.ts';
import { kubeadmDate, kubeadmDuration } from './kubeadm-format.ts';
import { alignColumns, oneLine } from './text.ts';

interface Column {
  readonly title: string;
  readonly cell: (item: InventoryItem, now: number) => string;
}

const expires: Column = {
  title: 'EXPIRES',
  cell: ({ certificate }) => (certificate === undefined ? '' : kubeadmDate(certificate.notAfter)),
};

const residual: Column = {
  title: 'RESIDUAL TIME',
  cell: ({ certificate }, now) =>
    certificate === undefined ? '' : kubeadmDuration(certificate.notAfter - now),
};

const authority: Column = {
  title: 'CERTIFICATE AUTHORITY',
  cell: ({ authority: ca, certificate }) => (certificate === undefined ? '' : (ca?.name ?? '')),
};

const external: Column = {
  title: 'EXTERNALLY MANAGED',
  cell: (item) => (item.certificate === undefined ? '' : isExternal(item) ? 'yes' : 'no'),
};

const state: Column = {
  title: 'STATE',
  cell: (item) => ('verdict' in item ? String(item.verdict) : item.state),
};

const endpoint: Column = {
  title: 'ENDPOINT',
  cell: ({ places }) => places.map(placeText).join(', '),
};

/** The first two have the columns and the order of `kubeadm certs check-expiration`. */
const tables: Readonly<Record<Section, { readonly title: string; readonly columns: Column[] }>> = {
  certificate: { title: 'CERTIFICATE', columns: [expires, residual, authority, external, state] },
  authority: { title: 'CERTIFICATE AUTHORITY', columns: [expires, residual, external, state] },
  kubelet: { title: 'KUBELET', columns: [expires, residual, authority, state] },
  other: { title: 'OTHER FILES', columns: [expires, residual, authority, state] },
  served: { title: 'SERVED', columns: [endpoint, expires, residual, state] },
};

const wideColumns: readonly Column[] = [
  { title: 'PATH', cell: pathCell },
  { title: 'SERIAL', cell: ({ certificate }) => certificate?.serial ?? '' },
  { title: 'KEY', cell: keyCell },
  {
    title: 'USED BY',
    cell: ({ usedBy }) =>
      usedBy
        .map(({ component, flag }) => (flag === undefined ? component : `${component} --${flag}`))
        .join(', '),
  },
  { title: 'RELOAD', cell: ({ reload }) => reload ?? '' },
];

/** Shows only the first place, because a CA is in every kubeconfig. -o json has all places. */
function pathCell({ places }: InventoryItem): string {
  const [first, ...others] = places;
  const more = others.length === 0 ? '' : ` and ${others.length} more`;
  return first === undefined ? '' : `${placeText(first)}${more}`;
}

function keyCell({ certificate, key }: InventoryItem): string {
  const facts = certificate && publicKeyFacts(certificate);
  if (facts === undefined) return '';
  const kind = `${facts.algorithm}-${facts.bits}`;
  if (key === undefined) return kind;
  return key.present ? kind : `${kind}, key missing`;
}

/** The inventory for people: the tables, then each problem with its remedy. */
export function inventoryTable(
  { items, now, skipped }: Inventory,
  { wide, only }: { readonly wide: boolean; readonly only?: readonly InventoryState[] },
): string {
  const blocks = sections.flatMap((section) => {
    const rows = items.filter((item) => item.section === section);
    return rows.length === 0 ? [] : [sectionTable(section, { rows, now, wide })];
  });
  const notes = items.filter(needsAttention).flatMap(problemLines);
  const omitted = skipped.map(({ path, reason }) => oneLine(`${path}: ${reason}`));
  const parts = [
    ...blocks,
    ...(notes.length === 0 ? [] : [notes.join('\n')]),
    ...(omitted.length === 0 ? [] : [['NOT LISTED', ...omitted].join('\n')]),
    summary(items, only),
  ];
  return `${parts.join('\n\n')}\n`;
}

function sectionTable(
  section: Section,
  options: { readonly rows: readonly InventoryItem[]; now: number; wide: boolean },
): string {
  const { rows, now, wide } = options;
  const { title, columns } = tables[section];
  const all = wide ? [...columns, ...wideColumns.filter(unlessEndpoint(section))] : columns;
  const lines = rows.map((item) => [nameCell(item), ...all.map(({ cell }) => cell(item, now))]);
  const table = [[title, ...all.map((column) => column.title)], ...lines];
  return alignColumns(
    table.map((line) => line.map(oneLine)),
    3,
  ).join('\n');
}

/** The endpoint of a served certificate has its column already. */
function unlessEndpoint(section: Section): (column: Column) => boolean {
  return ({ title }) => section !== 'served' || title !== 'PATH';
}

function nameCell({ name, state: found }: InventoryItem): string {
  return found === 'missing' ? `!MISSING! ${name}` : name;
}

function needsAttention(item: InventoryItem): boolean {
  const isUnreachable = 'verdict' in item && item.verdict === 'unreachable';
  return isUnreachable || inventoryStates[item.state] > 0;
}

function problemLines(item: InventoryItem): string[] {
  const { name, reason = '', remedy, places, section } = item;
  const where = section === 'served' ? ` at ${places.map(placeText).join(', ')}` : '';
  return [
    oneLine(`${name}${where}: ${reason}`),
    ...(remedy === undefined ? [] : [oneLine(`  → ${remedy}`)]),
  ];
}

function summary(items: readonly InventoryItem[], only?: readonly InventoryState[]): string {
  const problems = items.filter(needsAttention).length;
  const certificates = items.length === 1 ? '1 certificate' : `${items.length} certificates`;
  if (items.length === 0) {
    return only === undefined
      ? 'This node has no certificates in the usual places'
      : `No certificate has the state ${only.join(' or ')}`;
  }
  if (problems === 0) return `${certificates}, no problems`;
  return `${certificates}, ${problems} ${problems === 1 ? 'needs' : 'need'} attention`;
}
