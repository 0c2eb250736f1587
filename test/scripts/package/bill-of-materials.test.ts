import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { before, describe, it } from 'node:test';
import type { Bill, Product } from '../../../scripts/package/bill-of-materials.ts';
import { completeBill } from '../../../scripts/package/bill-of-materials.ts';
import { bundledPackages } from '../../../scripts/package/licenses.ts';
import { readRuntime } from '../../../scripts/package/runtime.ts';
import { programPieces } from '../../../scripts/program-pieces.ts';

let product: Product;
before(async () => {
  const packages = await bundledPackages(await programPieces('dist/lib'));
  product = {
    version: '1.2.3',
    date: new Date('2026-01-02T03:04:05Z'),
    runtime: await readRuntime(),
    bundled: packages.map(({ name, version }) => `${name}@${version}`),
  };
});

function fromNpm(): Bill {
  const output = execFileSync('npm', ['sbom', '--sbom-format', 'cyclonedx'], {
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  });
  return JSON.parse(output) as Bill;
}

describe('completeBill()', () => {
  it('names the packages of the bundle and the runtime, and nothing else', () => {
    const { components, dependencies, metadata } = completeBill(fromNpm(), product);
    const refs = components.map((component) => component['bom-ref']);
    const node = `node-linux-${process.arch}@${process.versions.node}`;
    assert.deepEqual(refs, [...product.bundled, node]);
    const { name, version } = metadata.component;
    assert.deepEqual([name, version], ['nodecertd', '1.2.3']);
    const own = dependencies.find(({ ref }) => ref === metadata.component['bom-ref']);
    const direct = (name: string): boolean | undefined =>
      own?.dependsOn.some((ref) => ref.startsWith(`${name}@`));
    assert.deepEqual(['undici', 'valibot', `node-linux-${process.arch}`, 'esbuild'].map(direct), [
      true,
      true,
      true,
      false,
    ]);
    const known = new Set([...refs, metadata.component['bom-ref']]);
    const named = dependencies.flatMap(({ ref, dependsOn }) => [ref, ...dependsOn]);
    assert.deepEqual(
      named.filter((ref) => !known.has(ref)),
      [],
    );
  });

  it('names the libraries that the runtime contains', () => {
    const node = completeBill(fromNpm(), product).components.at(-1);
    const parts = node?.['components'] as { name: string; version: string }[];
    const openssl = parts.find(({ name }) => name === 'openssl');
    assert.equal(openssl?.version, process.versions.openssl);
    assert.deepEqual(
      parts.filter(({ version }) => version === ''),
      [],
    );
  });

  it('names the Debian packages of an image, which the runtime needs', () => {
    const library = { name: 'libstdc++6', version: '2:12.2.0-14', architecture: 'amd64' };
    const debian = [{ ...library, sha256: 'ab'.repeat(32) }];
    const { components, dependencies } = completeBill(fromNpm(), { ...product, debian });
    const purl = 'pkg:deb/debian/libstdc%2B%2B6@2%3A12.2.0-14?arch=amd64';
    assert.equal(components.at(-1)?.purl, purl);
    const node = dependencies.find(({ ref }) => ref.startsWith('node-linux-'));
    assert.deepEqual(node?.dependsOn, [purl]);
    assert.deepEqual(dependencies.at(-1), { ref: purl, dependsOn: [] });
  });

  it('returns the same for two runs of npm', () => {
    const [first, second] = [fromNpm(), fromNpm()];
    assert.notEqual(first['serialNumber'], second['serialNumber']);
    assert.deepEqual(completeBill(first, product), completeBill(second, product));
    const other = completeBill(first, { ...product, version: '1.2.4' });
    assert.notEqual(other['serialNumber'], completeBill(first, product)['serialNumber']);
    assert.match(String(other['serialNumber']), /^urn:uuid:[\da-f]{8}-[\da-f]{4}-8[\da-f]{3}-8/);
  });

  it('throws for a bundle with a package that npm does not know', () => {
    const bundled = [...product.bundled, 'stranger@1.0.0'];
    assert.throws(() => completeBill(fromNpm(), { ...product, bundled }), /stranger@1\.0\.0/);
  });
});
