import type { X509Certificate } from 'node:crypto';
import { describeError } from '../../core/errors.ts';
import { formatHostPort } from '../../core/host-port.ts';
import { formatDuration, second } from '../../core/instant.ts';
import type { Instant } from '../../core/instant.ts';
import { printable } from '../../core/printable.ts';
import { servedCertificate } from '../../sys/served-certificate.ts';
import type { InventoryCertificate } from './certificate.ts';
import { inventoryCertificate } from './certificate.ts';
import { leafOf } from './scan-record.ts';
import type { FileReading } from './certificate-file.ts';
import { readCertificateFile } from './certificate-file.ts';
import type { InventoryItem } from './inventory.ts';
import type { JudgeOptions } from './judge.ts';
import { judge } from './judge.ts';
import type { Reload } from '../layout.ts';

/** An endpoint of this node and the certificate that it has to serve. */
export interface ServedEndpoint {
  readonly component: string;
  /** `kube-apiserver`, `etcd-peer` … */
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly serverName?: string;
  /** Absent for a certificate that the component creates in memory. */
  readonly certificateFile?: string;
}

/** What `certs verify` says about an endpoint. */
export const verdicts = [
  'current',
  'stale',
  'self-signed in memory',
  'foreign',
  'unreachable',
] as const;
export type Verdict = (typeof verdicts)[number];

export interface ServedItem extends InventoryItem {
  readonly verdict: Verdict;
}

export interface ServedOptions extends JudgeOptions {
  readonly signal: AbortSignal;
}

const handshakeMs = 3 * second;

/** Dials every endpoint at the same time, so that silent endpoints cost one timeout in all. */
export async function checkServed(
  endpoints: readonly ServedEndpoint[],
  options: ServedOptions,
): Promise<ServedItem[]> {
  return Promise.all(endpoints.map((endpoint) => checkEndpoint(endpoint, options)));
}

async function checkEndpoint(
  endpoint: ServedEndpoint,
  options: ServedOptions,
): Promise<ServedItem> {
  const { signal } = options;
  const found = await dial({ ...endpoint, signal, handshakeMs });
  const { name, component, host, port, serverName } = endpoint;
  const row = {
    name,
    section: 'served',
    places: [{ endpoint: formatHostPort({ host, port }), ...(serverName && { serverName }) }],
    usedBy: [{ component }],
  } as const;
  if (typeof found === 'string') {
    return { ...row, verdict: 'unreachable', state: 'ok', reason: found };
  }
  const certificate = inventoryCertificate(found.raw);
  if (certificate === undefined) {
    const reason = 'the served certificate cannot be parsed';
    return { ...row, verdict: 'foreign', state: 'unreadable', reason };
  }
  const { certificateFile } = endpoint;
  const disk = certificateFile === undefined ? undefined : readCertificateFile(certificateFile);
  return { ...row, certificate, ...verdictOf({ endpoint, certificate, disk }, options) };
}

async function dial(
  handshake: Parameters<typeof servedCertificate>[0],
): Promise<X509Certificate | string> {
  try {
    return await servedCertificate(handshake);
  } catch (error) {
    return printable(describeError(error), 200);
  }
}

interface Comparison {
  readonly endpoint: ServedEndpoint;
  readonly certificate: InventoryCertificate;
  readonly disk: FileReading | undefined;
}

function verdictOf(
  comparison: Comparison,
  options: ServedOptions,
): Pick<ServedItem, 'verdict' | 'state' | 'reason' | 'remedy' | 'reload'> {
  const { certificate, disk, endpoint } = comparison;
  const { component, name } = endpoint;
  const renewal = `Restart ${component}: it creates a new certificate when it starts`;
  const judged = judge({ name, certificate, renewal }, options);
  if (disk?.kind === 'read') {
    const file = leafOf(disk);
    if (file.sha256 === certificate.sha256) return { verdict: 'current', ...judged };
    return file.subject === certificate.subject
      ? staleVerdict(comparison, { file, changedAt: disk.changedAt, now: options.now })
      : foreignVerdict(comparison);
  }
  if (isMadeInMemory(certificate)) {
    return { verdict: 'self-signed in memory', reload: 'restart', ...judged };
  }
  return foreignVerdict(comparison);
}

function staleVerdict(
  { endpoint, certificate }: Comparison,
  disk: {
    readonly file: InventoryCertificate;
    readonly changedAt: Instant;
    readonly now: Instant;
  },
): ReturnType<typeof verdictOf> {
  const { component, certificateFile = '' } = endpoint;
  const { file, changedAt, now } = disk;
  const age = formatDuration(Math.max(now - changedAt, second));
  return {
    verdict: 'stale',
    state: 'stale-served',
    reason: `serves serial ${certificate.serial}, but ${certificateFile} has had serial ${file.serial} for ${age}`,
    remedy: staleRemedy(component),
    reload: reloadOf(component),
  };
}

function reloadOf(component: string): Reload {
  return component === 'etcd' ? 'handshake' : 'automatic';
}

function staleRemedy(component: string): string {
  switch (component) {
    case 'kube-apiserver':
    case 'kubelet':
      return `Wait a minute, because ${component} reloads the file by itself; then read its log, and check that it reads the same file`;
    case 'etcd':
      return 'Check that etcd reads the same file: it reads its file at every handshake';
    default:
      return `Restart ${component}`;
  }
}

function foreignVerdict({ endpoint, certificate }: Comparison): ReturnType<typeof verdictOf> {
  const { component, port, certificateFile } = endpoint;
  const file = certificateFile === undefined ? '' : `, not the certificate in ${certificateFile}`;
  return {
    verdict: 'foreign',
    state: 'stale-served',
    reason: `serves a certificate of ${certificate.subject || 'an empty subject'}${file}`,
    remedy: `Check that ${component} is the program that listens on port ${port}: ss -ltnp`,
  };
}

/**
 * `NAME@SECONDS`, signed by `NAME-ca@SECONDS`: the form of client-go's
 * GenerateSelfSignedCertKey (util/cert/cert.go).
 */
function isMadeInMemory({ subject, issuer }: InventoryCertificate): boolean {
  const made = /@\d+$/;
  return (made.test(subject) && made.test(issuer)) || subject === issuer;
}
