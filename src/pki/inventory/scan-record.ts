import { readdir, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import type { FileKind } from '../components/flag-kinds.ts';
import type { CertificateFile, FileReading } from './certificate-file.ts';
import { readCertificateFile } from './certificate-file.ts';
import type { InventoryCertificate } from './certificate.ts';
import type { FileUse, Gap, Scan, Sighting, Skipped } from './sighting.ts';

/** A file that the flag of a component names. */
export interface NamedFile extends FileUse {
  readonly path: string;
  readonly kind: FileKind;
}

/** Collects what a scan finds, and knows which files have their rows. */
export class ScanRecord {
  readonly #sightings: Sighting[] = [];
  /** By place and reason. */
  readonly #gaps = new Map<string, Gap>();
  readonly #skipped: Skipped[] = [];
  readonly #taken = new Set<string>();
  readonly #named: readonly NamedFile[];
  #reads = 0;
  /** Of the previous file. */
  #directory = '';
  /** The names in this directory that end in `.key`; undefined if it cannot be listed. */
  #keyNames: ReadonlySet<string> | undefined;

  constructor(named: readonly NamedFile[]) {
    this.#named = named;
  }

  result(): Scan {
    return { sightings: this.#sightings, gaps: [...this.#gaps.values()], skipped: this.#skipped };
  }

  async read(path: string): Promise<FileReading> {
    const directory = dirname(path);
    this.#reads += 1;
    // Reading a file blocks this process. Waiting for its directory now and then does not: the
    // handshakes with the endpoints go on, and Ctrl-C works if a network mount does not respond.
    if (directory !== this.#directory) {
      this.#directory = directory;
      this.#keyNames = await keyNamesIn(directory);
    } else if (this.#reads % 100 === 0) await stat(directory).catch(() => undefined);
    return readCertificateFile(path);
  }

  /** False if no key file with this path exists. The path must be in the directory that was listed last. */
  mayExist(keyFile: string): boolean {
    if (this.#keyNames === undefined || dirname(keyFile) !== this.#directory) return true;
    return this.#keyNames.has(basename(keyFile));
  }

  /**
   * False if a row has this path already. Another path to the same file, such as a link, is a
   * further place of the same certificate.
   */
  take(path: string): boolean {
    if (this.#taken.has(path)) return false;
    this.#taken.add(path);
    return true;
  }

  add(sighting: Sighting): void {
    this.#sightings.push(sighting);
  }

  addGap(gap: Gap): void {
    const { path, entry } = gap.place;
    const key = JSON.stringify([path, entry, gap.reason]);
    if (!this.#gaps.has(key)) this.#gaps.set(key, gap);
  }

  /** A file that is missing or unreadable. */
  addFailure(
    reading: Exclude<FileReading, CertificateFile>,
    gap: Omit<Gap, 'state' | 'reason'>,
  ): void {
    this.addGap({ ...gap, state: reading.kind, reason: reading.reason });
  }

  /** A malformed block beside sound ones is a row of its own. */
  addProblems({ path, problems }: CertificateFile): void {
    const gap = { name: path, section: 'other', place: { path }, usedBy: [] } as const;
    for (const reason of problems) this.addGap({ ...gap, state: 'unreadable', reason });
  }

  skip(path: string, reason: string): void {
    this.#skipped.push({ path, reason });
  }

  /** The flags that name this file. */
  usesOf({ path }: Pick<CertificateFile, 'path'>): readonly FileUse[] {
    const uses = this.#named.filter((file) => file.path === path);
    if (uses.length === 0) return noUses;
    return uses.map(({ component, flag }) => ({ component, ...(flag !== undefined && { flag }) }));
  }

  /**
   * The key file that the flag beside the flag of this certificate names, for example
   * `--tls-private-key-file` beside `--tls-cert-file`.
   */
  namedKeyOf({ path }: Pick<CertificateFile, 'path'>): string | undefined {
    const uses = this.#named.filter((file) => file.path === path && file.kind === 'certificate');
    return uses
      .map(({ component, flag }) =>
        this.#named.find(
          (key) =>
            key.kind === 'key' && key.component === component && stemOf(key.flag) === stemOf(flag),
        ),
      )
      .find((key) => key !== undefined)?.path;
  }
}

/** One listing instead of an attempt to open a key for each of thousands of files. */
async function keyNamesIn(directory: string): Promise<ReadonlySet<string> | undefined> {
  const names = await readdir(directory).catch(() => undefined);
  return names && new Set(names.filter((name) => name.endsWith('.key')));
}

/** One array for all files that no program uses, because there may be thousands. */
const noUses: readonly FileUse[] = [];

/** `tls-cert-file` and `tls-private-key-file` have the stem `tls`. */
function stemOf(flag = ''): string {
  return flag.replaceAll(/private|certificate|cert|key|file|[-_]/g, '');
}

/** The first certificate that is not a CA: a leaf may also be the last one of its file. */
export function leafOf({
  certificates,
}: Pick<CertificateFile, 'certificates'>): InventoryCertificate {
  const leaf = certificates.find(({ isAuthority }) => !isAuthority) ?? certificates[0];
  if (leaf === undefined) throw new RangeError('a file without certificates counts as unreadable');
  return leaf;
}

/** Undefined for a single certificate: of thousands of files, most have one. */
export function chainOf({
  certificates,
}: Pick<CertificateFile, 'certificates'>): Pick<Sighting, 'chain'> {
  return certificates.length === 1 ? {} : { chain: certificates };
}

/** The place of a certificate in its file; the position counts from 1. */
export function placeIn({ path, certificates }: CertificateFile, at: number): Sighting['place'] {
  return certificates.length === 1 ? { path } : { path, entry: String(at + 1) };
}
