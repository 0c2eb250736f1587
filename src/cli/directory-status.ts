import { readdir } from 'node:fs/promises';
import { currentLink } from '../core/certificate-spec.ts';
import { join } from 'node:path';
import type { Failure } from '../core/errors.ts';
import { AgentError, hasErrno, toFailure } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import type { RotationWindow } from '../core/schedule.ts';
import { foundDeadline, kubeletWindow, overdueGrace } from '../core/schedule.ts';
import { loadPair } from '../store/pair-file.ts';
import { isMissing } from '../sys/file-error.ts';
import type { CertificateReport } from './status-report.ts';
import { conditionOf } from './status-report.ts';

const suffix = currentLink('');

export interface DirectoryQuery {
  readonly directory: string;
  /** Certificates to report even if their files are missing. */
  readonly expected: readonly string[];
  readonly nodeName: string;
  /** The rotation windows of the configured certificates, by name. */
  readonly windows: ReadonlyMap<string, RotationWindow>;
  /** Certificates that the kubelet rotates. */
  readonly observed: ReadonlySet<string>;
  readonly now: Instant;
}

/** Reads every `NAME-current.pem` without the agent. @throws AgentError if the directory cannot be listed */
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
      { cause: error, remedy: 'Run as root, or name the right directory with --cert-dir' },
    );
  }
}

async function reportOn(name: string, query: DirectoryQuery): Promise<CertificateReport> {
  const { directory, nodeName, windows, observed, now } = query;
  const window = windows.get(name) ?? kubeletWindow;
  const path = join(directory, currentLink(name));
  try {
    const { facts } = await loadPair(path);
    const deadline = foundDeadline(facts, { nodeName, name, window, observed, now });
    const overdue = !facts.selfSigned && now > deadline + overdueGrace(facts);
    const condition = conditionOf(facts, now, overdue);
    return { name, path, facts, rotationDeadline: deadline, overdue, condition };
  } catch (error) {
    // A dangling link counts as missing too: there is no certificate to read.
    if (isMissing(error)) return { name, path, condition: 'missing', overdue: false };
    return { name, path, condition: 'invalid', overdue: false, failure: pairFailure(path, error) };
  }
}

function pairFailure(path: string, error: unknown): Failure {
  const { code, message } = toFailure(error);
  if (code === 'STORE_PERMISSIONS') {
    return { code, message: `no permission to read ${path}`, remedy: 'Run as root' };
  }
  return {
    code,
    message,
    remedy:
      'Start the agent, which sets the file aside and links the newest valid certificate: systemctl start nodecertd',
  };
}
