import { createHash } from 'node:crypto';

/** The parts of CycloneDX 1.5 that this file reads or changes. The rest passes through. */
export interface Bill {
  readonly metadata: { readonly component: Component; readonly [key: string]: unknown };
  readonly components: readonly Component[];
  readonly dependencies: readonly Dependency[];
  readonly [key: string]: unknown;
}

export interface Component {
  readonly 'bom-ref': string;
  readonly type: string;
  readonly name: string;
  readonly version: string;
  readonly purl?: string;
  readonly [key: string]: unknown;
}

interface Dependency {
  readonly ref: string;
  readonly dependsOn: readonly string[];
}

export interface Runtime {
  readonly version: string;
  /** The npm package that contains Node. */
  readonly packageName: string;
  /** The digest of that package in the lockfile: `sha512-` and base64. */
  readonly integrity: string;
  /** The libraries that are compiled into Node, by name: `process.versions`. */
  readonly libraries: Readonly<Record<string, string>>;
}

export interface Product {
  readonly version: string;
  readonly date: Date;
  readonly runtime: Runtime;
  /** `name@version` of each npm package in the bundle. */
  readonly bundled: readonly string[];
  /** The Debian packages of an image. */
  readonly debian?: readonly SystemPackage[];
}

export interface SystemPackage {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  /** The digest of the .deb file. */
  readonly sha256: string;
}

/**
 * Completes the output of `npm sbom`: keeps the packages of the bundle, and adds Node
 * with the libraries it contains. npm's own `--omit=dev` would drop a package of the
 * bundle that a development dependency needs, too. The random number and the time of
 * day are replaced, so that two builds give the same bill.
 * @throws if npm does not list a package of the bundle
 */
export function completeBill(fromNpm: Bill, product: Product): Bill {
  const node = nodeComponent(product.runtime);
  const { metadata } = fromNpm;
  const root = metadata.component['bom-ref'];
  const { version, debian = [] } = product;
  const system = debian.map(systemComponent);
  const own = { ...metadata.component, type: 'application', name: 'nodecertd', version };
  const bill: Bill = {
    ...fromNpm,
    metadata: { ...metadata, timestamp: product.date.toISOString(), component: own },
    components: [...chosen(fromNpm, product.bundled), node, ...system],
    dependencies: [
      ...dependencies(fromNpm, new Set([root, ...product.bundled])).map((one) =>
        one.ref === root ? { ...one, dependsOn: [...one.dependsOn, node['bom-ref']] } : one,
      ),
      { ref: node['bom-ref'], dependsOn: system.map((one) => one['bom-ref']) },
      ...system.map((one) => ({ ref: one['bom-ref'], dependsOn: [] })),
    ],
  };
  return { ...bill, serialNumber: serialNumber(bill) };
}

function chosen({ components }: Bill, bundled: readonly string[]): Component[] {
  return bundled.map((ref) => {
    const found = components.find((component) => component['bom-ref'] === ref);
    if (found === undefined)
      throw new Error(`npm sbom does not list ${ref}, which is in the bundle`);
    return found;
  });
}

function dependencies(fromNpm: Bill, refs: ReadonlySet<string>): Dependency[] {
  return fromNpm.dependencies
    .filter(({ ref }) => refs.has(ref))
    .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter((one) => refs.has(one)) }));
}

function nodeComponent({ version, packageName, integrity, libraries }: Runtime): Component {
  const hex = Buffer.from(integrity.replace(/^sha512-/, ''), 'base64').toString('hex');
  return {
    'bom-ref': `${packageName}@${version}`,
    type: 'platform',
    name: 'node',
    version,
    description: 'The runtime; it comes with the program',
    purl: `pkg:npm/${packageName}@${version}`,
    cpe: `cpe:2.3:a:nodejs:node.js:${version}:*:*:*:*:*:*:*`,
    licenses: [{ license: { id: 'MIT' } }],
    hashes: [{ alg: 'SHA-512', content: hex }],
    components: Object.entries(libraries).map(([name, its]) => ({
      'bom-ref': `${packageName}@${version}/${name}@${its}`,
      type: 'library',
      name,
      version: its,
    })),
  };
}

/** https://github.com/package-url/purl-spec/blob/main/types-doc/deb-definition.md */
function systemComponent({ name, version, architecture, sha256 }: SystemPackage): Component {
  const purl = `pkg:deb/debian/${[name, version].map(encodeURIComponent).join('@')}?arch=${architecture}`;
  return {
    'bom-ref': purl,
    type: 'library',
    name,
    version,
    purl,
    hashes: [{ alg: 'SHA-256', content: sha256 }],
  };
}

/** A UUID made from the content (RFC 9562, version 8). */
function serialNumber(bill: Bill): string {
  const content = JSON.stringify({ ...bill, serialNumber: undefined });
  const hex = createHash('sha256').update(content).digest('hex');
  const parts = [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `8${hex.slice(13, 16)}`,
    `8${hex.slice(17, 20)}`,
    hex.slice(20, 32),
  ];
  return `urn:uuid:${parts.join('-')}`;
}
