import type { X509Certificate } from 'node:crypto';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { minute, second } from '../../../src/core/instant.ts';
import type { TestAgent } from '../../support/agent.ts';
import { parsePair } from '../../support/agent.ts';
import { isIssuedBy } from '../../support/fault-proxy.ts';
import type { Stage } from './stage.ts';

/** What one node may ask in any minute, whatever happens to it; see `requestsPerMinute`. */
export const mostRequestsPerMinute = 25;

/** An enroller has some 120 MiB with all of Node's own, and what it may keep of a body is 4. */
export const mostMemory = 170 * 1024 * 1024;

/** While the fault lasts: what was there is there, and nothing else. */
export async function requireStanding({ node, trial, bench }: Stage): Promise<void> {
  const { controlPlane, issuer } = bench;
  const pairs = await pairsOf(node.pki);
  const before = trial.situation === 'rotation' ? [issuer.caPem] : [];
  const expected = trial.fault.serving === true ? [controlPlane.caPem] : before;
  const right = pairs.length === expected.length && pairs.every(isBy(expected));
  if (!right) throw new Error(`during the fault there are ${list(pairs)}`);
}

/** In the end: every file is a pair that the cluster granted, or the one from before. */
export async function requireGranted({ node, trial, bench }: Stage): Promise<void> {
  const { fault, situation, name } = trial;
  const { controlPlane, issuer } = bench;
  const pairs = await pairsOf(node.pki);
  const expected = [
    ...(situation === 'rotation' ? [issuer.caPem] : []),
    ...(fault.serving === true ? [controlPlane.caPem] : []),
    fault.storesForged === true ? issuer.caPem : controlPlane.caPem,
  ];
  const right =
    pairs.length === expected.length &&
    pairs.every(isBy(expected)) &&
    pairs.every(({ certificate }) =>
      certificate.subject.split('\n').includes(`CN=system:node:${name}`),
    );
  if (!right) throw new Error(`in the end there are ${list(pairs)}`);
}

interface FoundPair {
  readonly file: string;
  readonly certificate: X509Certificate;
}

/** In order of time, as the names have it. @throws Error where a file is no pair */
async function pairsOf(directory: string): Promise<FoundPair[]> {
  const names = await readdir(directory).catch(() => []);
  // What cannot be used is set aside as `.pem.corrupt-…`, and is wrong here too.
  const files = names.filter((name) => name.includes('.pem') && !name.endsWith('-current.pem'));
  const pairs: FoundPair[] = [];
  for (const file of files.sort()) {
    const certificate = parsePair(await readFile(join(directory, file), 'utf8'));
    // The stand-in of a server that has to have a pair to start with.
    if (certificate.issuer !== certificate.subject) pairs.push({ file, certificate });
  }
  return pairs;
}

function isBy(caPems: readonly string[]): (pair: FoundPair, index: number) => boolean {
  return ({ certificate }, index) => isIssuedBy(certificate, caPems[index] ?? '');
}

function list(pairs: readonly FoundPair[]): string {
  const shown = pairs.map(
    ({ file, certificate: { subject, issuer } }) =>
      `${file}: ${subject.replaceAll('\n', ', ')} by ${issuer}`,
  );
  return shown.join('; ') || 'no pairs';
}

/** None is left undecided, and no more were made than the fault accounts for. */
export async function requireFewCsrs({ proxy, trial, bench }: Stage): Promise<void> {
  const { wasted = 0, serving = false } = trial.fault;
  const names = new Set(proxy.seen.map(({ created }) => created));
  const made = (await bench.controlPlane.csrs()).filter(({ name }) => names.has(name));
  const most = 1 + wasted + (serving ? 1 : 0);
  if (made.length > most) {
    throw new Error(`${made.length} CSRs where ${most} are enough`);
  }
  const waiting = made.filter(({ issued }) => !issued);
  if (waiting.length > 0) throw new Error(`CSRs left undecided: ${JSON.stringify(waiting)}`);
}

/** A server that asks to be left alone is left alone. */
export function requireAsked({ proxy, trial }: Stage): void {
  const { asked } = trial.fault;
  if (asked === undefined) return;
  const [first, next] = proxy.seen.filter(({ met }) => met);
  if (first === undefined || next === undefined) throw new Error('it was not met twice');
  const waited = (next.at - first.at) / second;
  if (waited < asked) throw new Error(`asked again after ${waited} s, not ${asked} s`);
}

/**
 * Requests and connections in the busiest minute, as the proxy saw them; by the
 * agent's own count, which knows of refused connections, all of them.
 * @throws Error when they are more than one node may make
 */
export async function requestsPerMinute({ proxy }: Stage, agent: TestAgent): Promise<number> {
  const requests = busiest(proxy.seen.map(({ at }) => at));
  const counts = [requests, busiest(proxy.connections), await refusedConnections(agent)];
  const most = Math.max(...counts);
  if (most > mostRequestsPerMinute) {
    throw new Error(`${counts.join(', ')} requests, connections, refused ones in a minute`);
  }
  return most;
}

function busiest(moments: readonly number[]): number {
  const counts = moments.map(
    (start) => moments.filter((at) => at >= start && at < start + minute).length,
  );
  return Math.max(0, ...counts);
}

async function refusedConnections(agent: TestAgent): Promise<number> {
  const { text } = await agent.get('/metrics');
  return sum(text, /^nodecertd_api_requests_total\{.*code="API_UNREACHABLE".*\} (\d+)$/gm);
}

export async function failuresCounted(
  agent: TestAgent,
  certificate: string,
  code: string,
): Promise<number> {
  const { text } = await agent.get('/metrics');
  const labels = `certificate="${certificate}",code="${code}"`;
  return sum(
    text,
    new RegExp(String.raw`^nodecertd_rotation_failures_total\{${labels}\} (\d+)$`, 'gm'),
  );
}

function sum(text: string, pattern: RegExp): number {
  return [...text.matchAll(pattern)].reduce((total, [, value]) => total + Number(value), 0);
}

export function requireMemory(peak: number): void {
  if (peak === 0) throw new Error('no enroller was seen');
  if (peak > mostMemory) throw new Error(`the enroller had ${peak} bytes`);
}
