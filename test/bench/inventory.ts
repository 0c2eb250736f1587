import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { stringify } from 'yaml';
import { Child } from '../support/child.ts';
import { freePort } from '../support/free-ports.ts';
import { writeCertificateFiles } from './certificate-files.ts';
import type { CertificateFiles, Scraped } from './exporter.ts';
import { hasExporter, measureExporter, scrape } from './exporter.ts';
import type { Usage } from './program-usage.ts';
import { usageOf } from './program-usage.ts';
import type { Row } from './table.ts';
import { median } from './table.ts';

export const inventoryPrograms = [
  'plain loop',
  'nodecertd',
  ...(hasExporter ? ['x509-certificate-exporter'] : []),
];

export interface InventoryOptions {
  readonly directory: string;
  readonly files: number;
  readonly repetitions: number;
}

/**
 * Lists a folder of PEM files with a plain loop over node:crypto, with the released program, and
 * with the exporter, which stays to be scraped. They alternate, so that none profits from a warmer
 * machine.
 */
export async function measureInventory(options: InventoryOptions): Promise<Row[]> {
  const { directory, files, repetitions } = options;
  const folder = join(directory, `certificates-${files}`);
  await writeCertificateFiles(folder, files);
  const pattern = join(folder, '**/*.pem');
  const programs: (() => Promise<Usage>)[] = [
    () => usageOf(process.execPath, [join(import.meta.dirname, 'certificate-loop.mjs'), folder]),
    // With the codes 3 and 4, the list has certificates of this machine that need attention.
    () => usageOf(nodecertd, [...listing, '--path', pattern], [0, 3, 4]),
  ];
  // The time of the exporter grows with the square of the number of files.
  const isScraped = files <= 10_000;
  const place = { directory, pattern };
  if (isScraped && hasExporter) programs.push(() => measureExporter(place));
  const runs = programs.map((): Usage[] => []);
  for (let round = 0; round < repetitions; round += 1) {
    for (const [index, run] of programs.entries()) runs[index]?.push(await run());
  }
  const row = (label: string, pick: (usage: Usage) => number, digits: number): Row => ({
    label: `${files} PEM files: ${label} (median of ${repetitions})`,
    values: inventoryPrograms.map((_, index) => median((runs[index] ?? []).map(pick))),
    digits,
  });
  return [
    row('CPU, s', ({ cpuSeconds }) => cpuSeconds, 2),
    row('wall time, s', ({ wallSeconds }) => wallSeconds, 2),
    row('peak RSS, MB', ({ peakMegabytes }) => peakMegabytes, 0),
    ...(isScraped ? await scrapeRows({ ...place, files }) : []),
  ];
}

/** Scrapes the exporter and an agent with `inventory.enabled`. */
async function scrapeRows({
  files,
  ...place
}: CertificateFiles & { readonly files: number }): Promise<Row[]> {
  const ours = await scrapeAgent(place);
  const theirs = hasExporter ? await measureExporter(place) : undefined;
  const row = (label: string, pick: (scraped: Scraped) => number, digits: number): Row => ({
    label: `${files} PEM files: ${label}`,
    values: [Number.NaN, pick(ours), ...(theirs === undefined ? [] : [pick(theirs)])],
    digits,
  });
  return [
    row('scrape, s (median of 3)', ({ scrapeSeconds }) => scrapeSeconds, 3),
    row('RSS after 3 scrapes, MB', ({ rss }) => rss, 0),
  ];
}

/** Starts an agent that has no API server, and waits for its first inventory. */
async function scrapeAgent({ directory, pattern }: CertificateFiles): Promise<Scraped> {
  const folder = join(directory, 'inventory-agent');
  mkdirSync(join(folder, 'pki'), { recursive: true, mode: 0o700 });
  const port = await freePort();
  const config = join(folder, 'config.yaml');
  const configuration = {
    apiVersion: 'nodecertd.io/v1alpha1',
    kind: 'AgentConfiguration',
    nodeName: 'inventory',
    kubeconfig: join(folder, 'kubelet.conf'),
    bootstrapKubeconfig: join(folder, 'bootstrap.conf'),
    certificateDirectory: join(folder, 'pki'),
    stateDirectory: join(folder, 'state'),
    store: { acceptVolatileDirectory: true },
    metrics: { address: `127.0.0.1:${port}` },
    inventory: { enabled: true, interval: '1h', paths: [pattern] },
  };
  writeFileSync(config, stringify(configuration));
  await using child = new Child({
    name: 'nodecertd',
    command: nodecertd,
    args: ['run', '--config', config],
    logFile: join(folder, 'log'),
  });
  const url = `http://127.0.0.1:${port}/metrics`;
  while (!(await hasInventory(url))) {
    if (!child.running) throw child.failure('ended');
    await delay(200);
  }
  return await scrape(child.pid, url);
}

async function hasInventory(url: string): Promise<boolean> {
  const response = await fetch(url).catch(() => undefined);
  return (await response?.text())?.includes('nodecertd_inventory_last_scan') === true;
}

export const nodecertd = join(import.meta.dirname, '../../dist/nodecertd');
const listing = ['certs', 'check-expiration', '--no-dial', '--output', 'prometheus'];
