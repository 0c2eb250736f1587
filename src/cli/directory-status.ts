import { open, readdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import type { PairFacts } from '../core/certificate.ts';
import type { Failure } from '../core/errors.ts';
import { AgentError, hasErrno, toFailure } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { parsePem } from '../core/pem.ts';
import {
  observedDeadline,
  overdueGrace,
  rotationDeadline,
  rotationFraction,
} from '../core/schedule.ts';
import { parseCertificate } from '../core/x509.ts';
import type { CertificateReport } from './status-report.ts';
import { conditionOf } from './status-report.ts';

const suffix = '-current.pem';
/** A pair has a few kB; what is larger is another file, and is not read. */
const maxBytes = 1024 * 1024;

export interface DirectoryQuery {
  readonly directory: string;
  /** Names that must be there, beside those that are. */
  readonly expected: readonly string[];
  readonly nodeName: string;
  /** Those that the kubelet rotates. */
  readonly observed: ReadonlySet<string>;
  readonly now: Instant;
}

/** Reads every `NAME-current.pem` without help of the agent. @throws AgentError when the directory cannot be listed */
export async function readDirectory(query: DirectoryQuery): Promise<CertificateReport[]> {
  const found = (await list(query.directory))
    .filter((file) => file.endsWith(suffix))
    .map((file) => file.slice(0, -suffix.length));
  const names = [...new Set([...query.expected, ...found.sort()])];
  return Promise.all(names.map((name) => reportOn(name, query)));
}

async function list(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return [];
    throw new AgentError(
      hasErrno(error, 'EACCES', 'EPERM') ? 'STORE_PERMISSIONS' : 'STORE_IO',
      `the certificate directory ${directory} cannot be read`,
      { cause: error, remedy: 'run as root, or name the right directory with --cert-dir' },
    );
  }
}

async function reportOn(name: string, query: DirectoryQuery): Promise<CertificateReport> {
  const { directory, nodeName, observed, now } = query;
  const path = join(directory, name + suffix);
  try {
    const facts = await readPair(path);
    const fraction = rotationFraction(nodeName, name, facts.serial);
    const deadline = observed.has(name)
      ? observedDeadline(facts)
      : rotationDeadline(facts, fraction, { now });
    const overdue = !facts.selfSigned && now > deadline + overdueGrace(facts);
    const condition = conditionOf(facts, now, overdue);
    return { name, path, facts, rotationDeadline: deadline, overdue, condition };
  } catch (error) {
    // A link that leads nowhere is missing as well: nobody can read a certificate there.
    if (hasErrno(error, 'ENOENT')) return { name, path, condition: 'missing', overdue: false };
    return { name, path, condition: 'invalid', overdue: false, failure: pairFailure(path, error) };
  }
}

function pairFailure(path: string, error: unknown): Failure {
  if (hasErrno(error, 'EACCES', 'EPERM')) {
    return {
      code: 'STORE_PERMISSIONS',
      message: `${path} may not be read`,
      remedy: 'run as root',
    };
  }
  const { code, message } = toFailure(error);
  return {
    code: code === 'INTERNAL' ? 'STORE_IO' : code,
    message: `${path}: ${message}`,
    remedy: 'a running agent sets it aside and takes the newest valid pair',
  };
}

/** The file holds the key as well: its bytes are wiped before anything else happens. */
async function readPair(path: string): Promise<PairFacts> {
  await using file = await open(path, 'r');
  const found = await file.stat();
  if (!found.isFile() || found.size > maxBytes) {
    throw new AgentError('PAIR_MALFORMED', 'it is not a file of at most 1 MiB');
  }
  const bytes = new Uint8Array(found.size);
  try {
    await file.read(bytes, 0, bytes.length, 0);
    const { facts } = await parseCertificate(leafOf(bytes));
    return { ...facts, path: await realpath(path), storedAt: found.mtimeMs };
  } finally {
    bytes.fill(0);
  }
}

function leafOf(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const blocks = parsePem(bytes);
  const leaf = blocks.find(({ label }) => label === 'CERTIFICATE');
  const others = blocks.filter(({ label }) => label !== 'CERTIFICATE');
  for (const { der } of others) der.fill(0);
  if (leaf === undefined) throw new AgentError('PAIR_MALFORMED', 'it holds no certificate');
  if (!others.some(({ label }) => label.endsWith('PRIVATE KEY'))) {
    throw new AgentError('PAIR_MALFORMED', 'it holds no private key');
  }
  return leaf.der;
}
