import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import { day } from '../../../src/core/instant.ts';
import { CertificateOnDisk } from '../../../src/pki/inventory/certificate-on-disk.ts';
import type { InventoryItem } from '../../../src/pki/inventory/inventory.ts';
import { takeInventory } from '../../../src/pki/inventory/inventory.ts';
import { defaultThreshold } from '../../../src/pki/inventory/judge.ts';
import { scanCertificates } from '../../../src/pki/inventory/scan.ts';
import type { Scan } from '../../../src/pki/inventory/sighting.ts';
import { temporaryDirectory } from '../../store/pairs.ts';
import type { TestCa } from '../kubeadm-tree.ts';
import { makeCa, makeLeaf } from '../kubeadm-tree.ts';

const now = Date.UTC(2026, 10, 28, 12);
const year = { notBefore: now - day, notAfter: now + 365 * day };
const ca = await makeCa('kubernetes', { ...year, notAfter: now + 3650 * day });
const other = await makeCa('kubernetes', year);

async function leafOf(signer: TestCa): Promise<string> {
  const leaf = await makeLeaf(signer, { ...year, subject: 'CN=leaf', usages: ['client auth'] });
  return leaf.pem;
}

/** A scan that finds the leaf before its CA. */
async function scanned(test: TestContext, leaf: string): Promise<{ scan: Scan; path: string }> {
  const folder = await temporaryDirectory(test);
  const [path, authority] = [join(folder, 'leaf.pem'), join(folder, 'ca.pem')];
  await writeFile(path, leaf);
  await writeFile(authority, ca.pem);
  const scan = await scanCertificates({
    directories: { kubernetes: '/nonexistent', certificates: '/nonexistent/pki' },
    kubeletDirectory: undefined,
    allKubeletPairs: false,
    kubeconfigs: [],
    named: [],
    paths: [path, authority],
    keepDer: false,
    components: new Set(),
  });
  return { scan, path };
}

function leafIn(scan: Scan, path: string): InventoryItem {
  const { items } = takeInventory(scan, { now, threshold: defaultThreshold });
  const found = items.find(({ name }) => name === path);
  assert.ok(found?.certificate instanceof CertificateOnDisk);
  return found;
}

describe('CertificateOnDisk', () => {
  it('is verified by a CA that the scan finds later', async (test) => {
    const { scan, path } = await scanned(test, await leafOf(ca));
    const { state, authority } = leafIn(scan, path);
    assert.equal(state, 'ok');
    assert.match(authority?.name ?? '', /ca\.pem$/);
  });

  it('has a wrong CA if another key signed it', async (test) => {
    const { scan, path } = await scanned(test, await leafOf(other));
    assert.equal(leafIn(scan, path).state, 'wrong-ca');
  });

  it('has no CA if its file was replaced during the scan', async (test) => {
    const { scan, path } = await scanned(test, await leafOf(other));
    await writeFile(path, await leafOf(other));
    const { state, authority } = leafIn(scan, path);
    assert.equal(state, 'ok');
    assert.equal(authority, undefined);
  });
});
