import { formatDuration } from '../../core/instant.ts';
import { asRoot } from '../renewal/refusal.ts';
import type { Inventory, InventoryItem } from './inventory.ts';
import type { InventoryState } from './judge.ts';

export type ProblemState = Exclude<InventoryState, 'ok'>;

/** The rows of an inventory that one remedy fixes. */
export interface InventoryCause {
  readonly state: ProblemState;
  /** What is wrong, on which rows. One sentence without a final period. */
  readonly what: string;
  readonly remedy: string;
  /**
   * False for files that no program of this node uses, such as an old copy, and for files that only
   * this user may not read.
   */
  readonly isUrgent: boolean;
}

type Problem = InventoryItem & { readonly state: ProblemState };

/**
 * The problems of an inventory, one for each cause: certificates that expire together are one
 * problem, and so are the certificates of a CA that expires before them.
 */
export function causesOf({ items, now }: Pick<Inventory, 'items' | 'now'>): InventoryCause[] {
  const problems = items.filter(isProblem);
  const expiredCas = new Set(
    problems.flatMap(({ state, certificate }) =>
      state === 'expired' && certificate?.isAuthority === true ? certificate.sha256 : [],
    ),
  );
  const byCa = Map.groupBy(problems, (item) => endingCa(item, expiredCas));
  const others = byCa.get(undefined) ?? [];
  byCa.delete(undefined);
  return [
    ...[...byCa].map(([sha256, group]) => {
      const ca = items.find(({ certificate }) => certificate?.sha256 === sha256);
      return group.length > 1 && ca !== undefined
        ? endOfCa(ca, group, now)
        : jointCause(group, now);
    }),
    ...[...Map.groupBy(others, causeKey).values()].map((group) => jointCause(group, now)),
  ];
}

function isProblem(item: InventoryItem): item is Problem {
  return item.state !== 'ok';
}

/** The digest of the CA whose expiry causes the problem: the certificate is this CA, or this CA signed it. */
function endingCa(
  { state, certificate, authority }: Problem,
  expiredCas: ReadonlySet<string>,
): string | undefined {
  if (certificate?.isAuthority === true) {
    return state === 'expired' || state === 'expiring' ? certificate.sha256 : undefined;
  }
  const isOver = state === 'expired' && expiredCas.has(authority?.sha256 ?? '');
  return state === 'ca-ends-first' || isOver ? authority?.sha256 : undefined;
}

function endOfCa(ca: InventoryItem, group: readonly Problem[], now: number): InventoryCause {
  const { notAfter = now } = ca.certificate ?? {};
  const leaves = group.filter((item) => item !== ca);
  const isOver = notAfter <= now;
  const end = isOver
    ? `expired ${formatDuration(now - notAfter)} ago`
    : `expires in ${formatDuration(notAfter - now)}`;
  return {
    state: isOver ? 'expired' : 'ca-ends-first',
    what: `the CA ${ca.name} ${end}, which affects ${counted(leaves.length, 'certificate')} that it signed: ${listed(leaves)}`,
    remedy: ca.remedy ?? jointRemedy(leaves),
    isUrgent: group.some(isUrgent),
  };
}

/** The same for rows with one cause. */
function causeKey(item: Problem): string {
  if (isForbidden(item)) return 'forbidden';
  const { state, managedBy, reason, authority } = item;
  const isExternal = authority?.external === true;
  const detail = state === 'unreadable' ? reason : undefined;
  return JSON.stringify([state, managedBy, isExternal, templateOf(item), detail]);
}

/** The remedy without its command, and without the path of this row. */
function templateOf(item: Problem): string {
  const { remedy = '' } = item;
  return remedy.replace(/: .*$/, '').replaceAll(subjectOf(item), '…');
}

function subjectOf({ places, name }: Problem): string {
  return places[0]?.path ?? name;
}

function isUrgent(item: Problem): boolean {
  const { section, usedBy } = item;
  return !isForbidden(item) && (section !== 'other' || usedBy.length > 0);
}

function isForbidden({ state, remedy }: Problem): boolean {
  return state === 'unreadable' && remedy === asRoot;
}

function jointCause(group: readonly Problem[], now: number): InventoryCause {
  const [first] = group;
  if (first === undefined) throw new RangeError('a group of rows is never empty');
  const { state, reason = state } = first;
  const what =
    group.length === 1
      ? `${titleOf(first)}: ${reason}`
      : `${summaryOf(state, group, now)}: ${listed(group)}`;
  return { state, what, remedy: jointRemedy(group), isUrgent: group.some(isUrgent) };
}

function summaryOf(state: ProblemState, group: readonly Problem[], now: number): string {
  const ends = group.flatMap(({ certificate }) => certificate?.notAfter ?? []);
  const soonest = formatDuration(Math.max(Math.min(...ends) - now, 0));
  return summaries[state](group.length, soonest);
}

const summaries: Readonly<Record<ProblemState, (count: number, soonest: string) => string>> = {
  expired: (count) => `${count} certificates have expired`,
  expiring: (count, soonest) => `${count} certificates expire soon, the first in ${soonest}`,
  overdue: (count, soonest) =>
    `${count} certificates were not rotated in time, and the first expires in ${soonest}`,
  'not-yet-valid': (count) => `${count} certificates are not valid yet`,
  'ca-ends-first': (count) => `the CAs of ${count} certificates expire too early`,
  'key-mismatch': (count) => `${count} certificates do not match their private keys`,
  'wrong-ca': (count) => `no CA on this node has signed ${count} certificates`,
  mode: (count) => `every user can read the private keys of ${count} certificates`,
  'stale-copy': (count) => `${count} files have old copies of renewed certificates`,
  missing: (count) => `${count} files do not exist`,
  unreadable: (count) => `${count} files cannot be read`,
  'stale-served': (count) => `${count} endpoints do not serve the certificates in their files`,
};

function counted(count: number, noun: string): string {
  return count === 1 ? `1 ${noun}` : `${count} ${noun}s`;
}

const shownNames = 5;

function listed(group: readonly Problem[]): string {
  const names = group.slice(0, shownNames).map(titleOf).join(', ');
  const more = group.length - shownNames;
  return more > 0 ? `${names} and ${more} more` : names;
}

function titleOf({ name, section, places }: Problem): string {
  return section === 'served' ? `${name} at ${places[0]?.endpoint ?? ''}` : name;
}

/** One remedy for rows whose remedies differ only in their names and paths. */
function jointRemedy(group: readonly Problem[]): string {
  const [first = '', ...others] = new Set(group.flatMap(({ remedy }) => remedy ?? []));
  if (others.length === 0) return first;
  const { intro, end = '' } = renewal.exec(first)?.groups ?? {};
  if (intro !== undefined) {
    const names = group.map(({ name }) => name).join(' ');
    return `${intro.replace(/\bit$/, 'them').replace('a CSR', 'CSRs')}: nodecertd certs renew ${names}${end}`;
  }
  const start = first.slice(0, first.indexOf(': ') + 2);
  const shown = others.slice(0, 2).map((remedy) => remedy.replace(start, ''));
  const rest =
    others.length > shown.length
      ? [`list the others: nodecertd certs check-expiration --only ${group[0]?.state ?? ''}`]
      : [];
  return [first, ...shown, ...rest].join('; ');
}

const renewal = /^(?<intro>[^:]+): nodecertd certs renew [\w.-]+(?<end>.*)$/;
