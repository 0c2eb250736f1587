import type { X509Certificate } from 'node:crypto';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { minute, second } from '../../../src/core/instant.ts';
import type { TestAgent } from '../../support/agent.ts';
import { parsePair } from '../../support/agent.ts';
import { isIssuedBy } from '../../support/fault-proxy.ts';
import type { Stage } from './stage.ts';

/** The maximum of requests of one node in any minute: see `requestsPerMinute`. */
export const mostRequestsPerMinute = 25;

/** An enroller has about 120 MiB including Node, and may keep 4 MiB of a body. */
export const mostMemory = 170 * 1024 * 1024;

/** During the fault, the previous pair exists and nothing else. */
export async function requireStanding({ node, trial, bench }: Stage): Promise<void> {
  const { controlPlane, issuer } = bench;
  const pairs = await pairsOf(node.pki);
  const before = trial.situation === 'rotation' ? [issuer.caPem] : [];
  const expected = trial.fault.serving === true ? [controlPlane.caPem] : before;
  const right = pairs.length === expected.length && pairs.every(isBy(expected));
  if (!right) throw new Error(`during the fault there are ${list(pairs)}`);
}

/** At the end, every file is a pair from the cluster or the previous pair. */
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
  if (!right) throw new Error(`at the end there are ${list(pairs)}`);
}

interface FoundPair {
  readonly file: string;
  readonly certificate: X509Certificate;
}

/**
 * Returns the pairs in the order of their names, which is that of time. @throws Error
 * for a file that is not a pair
 */
async function pairsOf(directory: string): Promise<FoundPair[]> {
  const names = await readdir(directory).catch(() => []);
  // A file `.pem.corrupt-…` was set aside, which is an error here, too.
  const files = names.filter((name) => name.includes('.pem') && !name.endsWith('-current.pem'));
  const pairs: FoundPair[] = [];
  for (const file of files.sort()) {
    const certificate = parsePair(await readFile(join(directory, file), 'utf8'));
    // The temporary self-signed certificate of a server.
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

/** Checks that no CSR is pending and that the fault caused no more CSRs than it may. */
export async function requireFewCsrs({ proxy, trial, bench }: Stage): Promise<void> {
  const { wasted = 0, serving = false } = trial.fault;
  const names = new Set(proxy.seen.map(({ created }) => created));
  const made = (await bench.controlPlane.csrs()).filter(({ name }) => names.has(name));
  const most = 1 + wasted + (serving ? 1 : 0);
  if (made.length > most) {
    throw new Error(`${made.length} CSRs, expected at most ${most}`);
  }
  const waiting = made.filter(({ issued }) => !issued);
  if (waiting.length > 0) throw new Error(`CSRs still pending: ${JSON.stringify(waiting)}`);
}

/** Checks that the agent obeys Retry-After. */
export function requireAsked({ proxy, trial }: Stage): void {
  const { asked } = trial.fault;
  if (asked === undefined) return;
  const [first, next] = proxy.seen.filter(({ met }) => met);
  if (first === undefined || next === undefined)
    throw new Error('fewer than two requests met the fault');
  const waited = (next.at - first.at) / second;
  if (waited < asked)
    throw new Error(`the next request came after ${waited} s, expected ${asked} s`);
}

/**
 * Returns the requests and connections in the busiest minute, as the proxy saw them.
 * The agent's own count includes refused connections.
 * @throws Error if one node may not make so many
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
