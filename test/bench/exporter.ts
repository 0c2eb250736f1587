import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { stringify } from 'yaml';
import { Child } from '../support/child.ts';
import { findProgram } from '../support/programs.ts';
import { freePort } from '../support/free-ports.ts';
import { processUsage } from './process-usage.ts';
import type { Usage } from './program-usage.ts';
import { peakMegabytes } from './program-usage.ts';
import { median } from './table.ts';

/**
 * x509-certificate-exporter of enix, if it is on PATH. It is not built here, because the Go module
 * proxy does not serve its module.
 */
const exporter = findProgram('x509-certificate-exporter');
export const hasExporter = exporter !== undefined;

export interface CertificateFiles {
  /** For the files of the program. */
  readonly directory: string;
  readonly pattern: string;
}

export interface Scraped {
  /** The median of three scrapes. */
  readonly scrapeSeconds: number;
  /** After these scrapes, in 10⁶ bytes. */
  readonly rss: number;
}

/** Measures the exporter from its start until it has read all files, and its scrapes. */
export async function measureExporter({
  directory,
  pattern,
}: CertificateFiles): Promise<Usage & Scraped> {
  if (exporter === undefined) throw new Error('x509-certificate-exporter is not on PATH');
  mkdirSync(directory, { recursive: true });
  const port = await freePort();
  const address = `127.0.0.1:${port}`;
  const sources = [{ kind: 'file', name: 'bench', paths: [pattern], refreshInterval: '1h' }];
  const config = join(directory, 'exporter.yaml');
  writeFileSync(config, stringify({ server: { listen: address }, sources }));
  const startedAt = performance.now();
  await using child = new Child({
    name: 'x509-certificate-exporter',
    command: exporter,
    args: ['--config', config],
    logFile: join(directory, 'exporter.log'),
  });
  while (!(await isReady(`http://${address}/readyz`))) {
    if (!child.running) throw child.failure('ended');
    await delay(10);
  }
  const usage = {
    wallSeconds: (performance.now() - startedAt) / 1000,
    cpuSeconds: processUsage(child.pid).cpuSeconds,
    peakMegabytes: peakMegabytes(child.pid),
  };
  return { ...usage, ...(await scrape(child.pid, `http://${address}/metrics`)) };
}

async function isReady(url: string): Promise<boolean> {
  const response = await fetch(url).catch(() => undefined);
  await response?.text();
  return response?.status === 200;
}

/** Scrapes a process three times. */
export async function scrape(pid: number, url: string): Promise<Scraped> {
  const times: number[] = [];
  for (let round = 0; round < 3; round += 1) {
    const startedAt = performance.now();
    const response = await fetch(url, { headers: { connection: 'close' } });
    await response.bytes();
    times.push((performance.now() - startedAt) / 1000);
  }
  return { scrapeSeconds: median(times), rss: processUsage(pid).mainRss };
}
