import type { Instant } from '../../core/instant.ts';
import type { InventoryCertificate } from './certificate.ts';
import { isIssuedBy } from './certificate.ts';
import { CertificateReplaced } from './certificate-on-disk.ts';
import type { JudgeOptions, Judgment } from './judge.ts';
import { judge } from './judge.ts';
import type { KeyState } from './key-check.ts';
import type { AuthorityName, Reload } from '../layout.ts';
import { creationCommand } from '../layout.ts';
import type { FileUse, Gap, Place, Scan, Section, Sighting, Skipped } from './sighting.ts';
import { shorterPath } from '../../sys/file-error.ts';
import { asRoot } from '../renewal/refusal.ts';
import { sections } from './sighting.ts';

/** The CA of a certificate. */
export interface ItemAuthority {
  readonly name: string;
  readonly sha256?: string;
  /** Its private key is not on this node. */
  readonly external: boolean;
}

/** One row of an inventory: a certificate at all its places, or a file without one. */
export interface InventoryItem extends Judgment {
  readonly name: string;
  readonly section: Section;
  readonly places: readonly Place[];
  /** Absent for a file that is missing or unreadable. */
  readonly certificate?: InventoryCertificate;
  readonly usedBy: readonly FileUse[];
  readonly reload?: Reload;
  readonly managedBy?: Sighting['managedBy'];
  readonly key?: KeyState;
  readonly authority?: ItemAuthority;
  /** For a CA of kubeadm: its private key is not on this node. */
  readonly external?: boolean;
}

export interface Inventory {
  readonly items: readonly InventoryItem[];
  readonly skipped: readonly Skipped[];
  readonly now: Instant;
}

/** Makes one row of all sightings of a certificate, and judges each row. */
export function takeInventory(
  { sightings, gaps, skipped }: Scan,
  options: JudgeOptions,
): Inventory {
  const known = new Authorities(sightings);
  const managed = sightings.filter(({ managedBy }) => managedBy !== undefined);
  const items: InventoryItem[] = [];
  for (const row of rowsOf(sightings)) items.push(itemOf(row, { known, managed, options }));
  for (const gap of gaps) items.push(itemOfGap(gap, known));
  return { items: items.sort(bySection), skipped, now: options.now };
}

/** The sightings of each certificate. Nearly all have one, so only the others get a list that stays. */
function* rowsOf(sightings: readonly Sighting[]): Generator<readonly Sighting[], void> {
  const once = new Set<string>();
  const twice = new Set<string>();
  for (const sha of sightings.values().map(shaOf)) (once.has(sha) ? twice : once).add(sha);
  const rows = Map.groupBy(
    sightings.filter((sighting) => twice.has(shaOf(sighting))),
    shaOf,
  );
  for (const sighting of sightings) {
    const row = rows.get(shaOf(sighting)) ?? [sighting];
    if (row[0] === sighting) yield row;
  }
}

function shaOf({ certificate }: Sighting): string {
  return certificate.sha256;
}

/** By section, then by name. */
export function bySection(left: InventoryItem, right: InventoryItem): number {
  const order = sections.indexOf(left.section) - sections.indexOf(right.section);
  if (order !== 0 || left.name === right.name) return order;
  return left.name < right.name ? -1 : 1;
}

interface RowContext {
  readonly known: Authorities;
  /** What kubeadm, the kubelet or nodecertd renews. */
  readonly managed: readonly Sighting[];
  readonly options: JudgeOptions;
}

function itemOf(row: readonly Sighting[], context: RowContext): InventoryItem {
  // A scan lists the most important place first.
  const [first, ...others] = row.toSorted(
    (a, b) => sections.indexOf(a.section) - sections.indexOf(b.section),
  );
  if (first === undefined) throw new RangeError('a group of sightings is never empty');
  const { certificate } = first;
  const all = [first, ...others];
  const key = worstKey(all);
  const managedBy = pick(all, ({ managedBy: manager }) => manager);
  const reload = pick(all, (sighting) => sighting.reload);
  const { issuer, authority } = context.known.of(first);
  const newer = newerThan(first, context.managed);
  const judgment = judge(
    {
      name: first.name,
      certificate,
      renewal: renewalOf(first, { newer, isExternal: authority?.external === true }),
      ...(managedBy && { managedBy }),
      ...(key && { key }),
      ...(issuer && { issuer }),
      ...(newer && { newer }),
      ...(first.authority && { expectedCa: first.authority }),
      ...fileOf(first),
    },
    context.options,
  );
  return {
    name: first.name,
    section: first.section,
    places: uniquePlaces(all),
    certificate,
    usedBy: uniqueUses(all),
    ...(reload && { reload }),
    ...(managedBy && { managedBy }),
    ...(key && { key }),
    ...(authority && { authority }),
    ...(first.external !== undefined && { external: first.external }),
    ...judgment,
  };
}

/** Without a kubeconfig, whose certificates are embedded. */
function fileOf({ place: { path, entry = '' } }: Sighting): { readonly path?: string } {
  return path === undefined || /^(?:user|cluster) /.test(entry) ? {} : { path };
}

function pick<T>(
  all: readonly Sighting[],
  read: (sighting: Sighting) => T | undefined,
): T | undefined {
  return all.map(read).find((value) => value !== undefined);
}

/** Of several keys of one certificate, the one that has a problem. */
function worstKey(all: readonly Sighting[]): KeyState | undefined {
  const keys = all.flatMap(({ key }) => (key === undefined ? [] : [key]));
  return (
    keys.find(({ matches }) => matches === false) ??
    keys.find(({ readableByAll }) => readableByAll === true) ??
    keys.find(({ present }) => present) ??
    keys[0]
  );
}

function uniquePlaces(all: readonly Sighting[]): Place[] {
  if (all.length === 1) return all.map(({ place }) => place);
  return [...new Map(all.map(({ place }) => [JSON.stringify(place), place])).values()];
}

function uniqueUses(all: readonly Sighting[]): readonly FileUse[] {
  const uses = all.flatMap(({ usedBy }) => usedBy);
  // Keeps the empty array that all files share.
  if (uses.length === 0) return all[0]?.usedBy ?? uses;
  const named = uses.filter(({ flag }) => flag !== undefined);
  // A component without a flag adds nothing to the same component with one.
  const rest = uses.filter(
    ({ component, flag }) =>
      flag === undefined && !named.some((use) => use.component === component),
  );
  const unique = new Map([...named, ...rest].map((use) => [`${use.component} ${use.flag}`, use]));
  return [...unique.values()];
}

function itemOfGap(gap: Gap, known: Authorities): InventoryItem {
  const { name, section, place, state, reason, usedBy, authority } = gap;
  return {
    name,
    section,
    places: [place],
    usedBy,
    state,
    reason,
    remedy: gapRemedy(gap, authority && known.named(authority)),
    ...(authority && { authority: known.named(authority) }),
  };
}

function gapRemedy(gap: Gap, authority: ItemAuthority | undefined): string {
  const { name, state, place, section, usedBy, reason } = gap;
  const path = place.path ?? name;
  if (/\bE(?:ACCES|PERM)\b/.test(reason)) return asRoot;
  if (/\bENAMETOOLONG\b/.test(reason)) return shorterPath;
  if (state === 'missing' && authority?.external === false) {
    const command = creationCommand(name, gap.leftKey);
    return `Restore ${path} from a backup, or create it, with --config FILE if kubeadm init had it: ${command}`;
  }
  if (section === 'certificate' || section === 'authority') return `Restore ${path} from a backup`;
  const verb = state === 'unreadable' ? 'Repair' : 'Restore';
  if (usedBy.some(({ flag }) => flag !== undefined)) {
    return `${verb} ${path}, or correct the flag that names it`;
  }
  return state === 'unreadable'
    ? `Repair or delete ${path}`
    : `Restore ${path}, or pass another path`;
}

function renewalOf(
  { name, managedBy, section, place }: Sighting,
  { newer, isExternal }: { readonly newer: Sighting | undefined; readonly isExternal: boolean },
): string {
  if (newer !== undefined) {
    return newer.managedBy === 'kubelet'
      ? 'Let the kubeconfig name the file of the current certificate: nodecertd adopt'
      : `Copy the current file: cp ${newer.place.path ?? newer.name} ${place.path ?? name}`;
  }
  if (managedBy === 'kubeadm' && isExternal) {
    return `Create a CSR for the owner of its CA: nodecertd certs renew ${name} --csr-out DIR`;
  }
  if (managedBy === 'kubeadm') return `Renew it: nodecertd certs renew ${name}`;
  if (section === 'kubelet') return 'Find out why it was not rotated: nodecertd doctor';
  return 'Renew it with the program that created it';
}

/**
 * The certificate of kubeadm or the kubelet of which this one is an old copy: the same subject
 * and issuer, and a later start.
 */
function newerThan(
  { certificate, managedBy, key }: Sighting,
  managed: readonly Sighting[],
): (Sighting & { readonly notAfter: Instant }) | undefined {
  if (managedBy !== undefined || key === undefined || certificate.isAuthority) return undefined;
  const newer = managed.find(
    ({ certificate: other }) =>
      other.subject === certificate.subject &&
      other.issuer === certificate.issuer &&
      other.notBefore > certificate.notBefore,
  );
  return newer && { ...newer, notAfter: newer.certificate.notAfter };
}

interface Issuer {
  readonly issuer?: InventoryCertificate | 'wrong';
  readonly authority?: ItemAuthority;
}

/** Every CA of the scan. */
class Authorities {
  readonly #sightings: readonly Sighting[];
  readonly #bySubject: ReadonlyMap<string, readonly Sighting[]>;

  constructor(sightings: readonly Sighting[]) {
    this.#sightings = sightings.filter(({ certificate }) => certificate.isAuthority);
    this.#bySubject = Map.groupBy(this.#sightings, ({ certificate }) => certificate.subject);
  }

  /** The CA of kubeadm with this name. */
  named(name: AuthorityName): ItemAuthority {
    const found = this.#sightings.find((sighting) => sighting.name === name);
    return { name, ...identity(found), external: found?.external ?? false };
  }

  /** The CA that signed a certificate; compares keys, and names only to say that a CA is wrong. */
  of(sighting: Sighting): Issuer {
    try {
      return this.#issuerOf(sighting);
    } catch (error) {
      // The certificate was replaced during the scan, so its CA does not count any more.
      if (error instanceof CertificateReplaced) return {};
      throw error;
    }
  }

  #issuerOf({ certificate, authority, chain = [] }: Sighting): Issuer {
    // A root has no CA above it.
    if (certificate.issuer === certificate.subject) return {};
    const top = this.#topOf(certificate, chain);
    const namesakes = this.#bySubject.get(top.issuer) ?? [];
    const signer = namesakes.find((ca) => isIssuedBy(top, ca.certificate));
    const expected = authority && { authority: this.named(authority) };
    if (signer === undefined) {
      const isWrong = namesakes.length > 0 || expected?.authority.sha256 !== undefined;
      return { ...expected, ...(isWrong && { issuer: 'wrong' }) };
    }
    const { name, external = true } = signer;
    // A kubeadm certificate has to be signed by its own CA, which has its own name for each.
    const isOther = authority !== undefined && !name.startsWith(authority);
    return {
      issuer: isOther ? 'wrong' : signer.certificate,
      authority: expected?.authority ?? { name, ...identity(signer), external },
    };
  }

  /** The last intermediate above the certificate in its own file, or the certificate itself. */
  #topOf(
    certificate: InventoryCertificate,
    chain: readonly InventoryCertificate[],
  ): InventoryCertificate {
    let top = certificate;
    for (let depth = 0; depth < chain.length; depth += 1) {
      const next = chain.find(
        (other) => other.subject !== other.issuer && other !== top && isIssuedBy(top, other),
      );
      if (next === undefined) break;
      top = next;
    }
    return top;
  }
}

function identity(found: Sighting | undefined): { readonly sha256?: string } {
  return found === undefined ? {} : { sha256: found.certificate.sha256 };
}
