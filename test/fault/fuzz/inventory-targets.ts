import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { inventoryDocument, inventorySeries } from '../../../src/cli/inventory-document.ts';
import { inventoryTable } from '../../../src/cli/inventory-table.ts';
import type { Inventory } from '../../../src/pki/inventory/inventory.ts';
import { takeInventory } from '../../../src/pki/inventory/inventory.ts';
import { defaultThreshold } from '../../../src/pki/inventory/judge.ts';
import { openSslCertificate } from '../../../src/pki/inventory/openssl-certificate.ts';
import { scanCertificates } from '../../../src/pki/inventory/scan.ts';
import { usualCertificate } from '../../../src/pki/inventory/usual-certificate.ts';
import { kubeconfigArbitrary, sampler } from './arbitraries.ts';
import { pairGenerator } from './x509-targets.ts';
import { derMutators } from './der.ts';
import { mutated } from './mutate.ts';
import { pieceIn } from './judge.ts';
import { secretsOf } from './secrets.ts';
import type { FuzzTarget } from './target.ts';
import { requireThat } from './target.ts';
import { kubeconfigs, yamlWords } from './texts.ts';

/** An inventory shows the damaged file as a row, prints safely, and shows no secret. */
function readInventory(
  secrets: ReadonlySet<string>,
  file: { readonly path: string; readonly kind: 'kubeconfig' | 'certificate' },
): (input: Uint8Array) => Promise<string> {
  const { path, kind } = file;
  return async (input) => {
    writeFileSync(path, input);
    const scan = await scanCertificates({
      directories: { kubernetes: '/nonexistent', certificates: '/nonexistent/pki' },
      kubeletDirectory: '/nonexistent',
      allKubeletPairs: false,
      kubeconfigs: kind === 'kubeconfig' ? [path] : [],
      paths: kind === 'certificate' ? [path] : [],
      keepDer: true,
      named: [],
      components: new Set(),
    });
    const inventory = takeInventory(scan, { now: Date.now(), threshold: defaultThreshold });
    checkOutput(inventory, secrets);
    const [first] = inventory.items;
    return first?.state ?? (inventory.skipped.length > 0 ? 'skipped' : 'nothing');
  };
}

function checkOutput(inventory: Inventory, secrets: ReadonlySet<string>): void {
  const table = inventoryTable(inventory, { wide: true });
  const text =
    table + JSON.stringify([inventoryDocument(inventory), ...inventorySeries(inventory)]);
  const leak = pieceIn(text, secrets);
  requireThat(
    leak === undefined || isInCertificate(inventory, leak),
    () => `shows ${leak} of a secret`,
  );
  requireThat(!unprintable.test(table), () => `the table has control characters: ${table}`);
}

/** The fuzzer copies bytes of a key into a certificate, whose serial number is not a secret. */
function isInCertificate({ items }: Inventory, hex: string): boolean {
  return items.some(
    ({ certificate }) =>
      certificate !== undefined && Buffer.from(certificate.der).toString('hex').includes(hex),
  );
}

const unprintable = /[^\P{Cc}\n]|[\u2028\u2029]/u;

const certificateFile: FuzzTarget = {
  name: 'certificate-file',
  module: import.meta.url,
  fault: 'damaged certificate files in an inventory',
  inputs: 20_000,
  generator: (corpus) => {
    const damagedPairs = pairGenerator(corpus);
    return (random) =>
      random.chance(0.3)
        ? mutated({ seeds: corpus.certificates, words: [] }, random)
        : damagedPairs(random);
  },
  open: ({ corpus, directory }) => ({
    feed: readInventory(secretsOf(corpus), {
      path: join(directory, 'file.pem'),
      kind: 'certificate',
    }),
  }),
};

const kubeconfigFile: FuzzTarget = {
  name: 'kubeconfig-inventory',
  module: import.meta.url,
  fault: 'damaged kubeconfigs in an inventory',
  inputs: 20_000,
  generator: (corpus) => {
    const seeds = kubeconfigs(corpus);
    const sample = sampler(kubeconfigArbitrary);
    return (random) =>
      random.chance(0.3) ? sample(random) : mutated({ seeds, words: yamlWords }, random);
  },
  open: ({ corpus, directory }) => {
    const [pair = new Uint8Array()] = corpus.pairs;
    writeFileSync(join(directory, 'pair.pem'), pair);
    return {
      feed: readInventory(secretsOf(corpus), {
        path: join(directory, 'config'),
        kind: 'kubeconfig',
      }),
    };
  },
};

/** Of two readers, the faster one must read a certificate as OpenSSL does, or leave it to OpenSSL. */
const usualForm: FuzzTarget = {
  name: 'usual-certificate',
  module: import.meta.url,
  fault: 'damaged certificates, read without OpenSSL and with it',
  inputs: 300_000,
  generator: ({ certificates }) => {
    const seeds = certificates.filter((der) => usualCertificate(der) !== undefined);
    return (random) => mutated({ seeds, own: derMutators }, random);
  },
  open: () => ({
    feed: (input) => {
      const facts = usualCertificate(input);
      if (facts === undefined) return 'left to OpenSSL';
      const { der, sha256: _, ...theirs } = openSslCertificate(input) ?? {};
      requireThat(
        isDeepStrictEqual({ ...facts, isAuthority: false }, theirs) && der === input,
        () => `OpenSSL reads ${JSON.stringify(theirs)}, not ${JSON.stringify(facts)}`,
      );
      return 'ok';
    },
  }),
};

export const targets: readonly FuzzTarget[] = [certificateFile, kubeconfigFile, usualForm];
