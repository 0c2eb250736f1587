import { access, constants, stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { AgentConfig } from '../core/config.ts';
import type { Failure } from '../core/errors.ts';
import { hasCode, hasErrno, toFailure } from '../core/errors.ts';
import { showMode } from '../core/file-mode.ts';
import type { DoctorFinding } from '../core/findings.ts';
import { refuseVolatile } from '../store/certificate-directory.ts';
import { unlessMissing } from '../sys/file-error.ts';

/** The certificate directory as the kernel shows it. */
export interface DirectoryFacts {
  readonly path: string;
  readonly kind: 'missing' | 'directory' | 'other';
  readonly mode: number;
  readonly owner: number;
  /** Whom the look was taken as. */
  readonly user: number;
  readonly writing: 'possible' | 'read-only' | 'denied';
  /** Of the directory, or of where it will be created. */
  readonly freeBytes: number;
  readonly freeInodes: number;
  /** That its files are lost at a reboot. */
  readonly volatile?: Failure;
  readonly acceptVolatile: boolean;
}

export async function inspectDirectory(config: AgentConfig): Promise<DirectoryFacts> {
  const { certificateDirectory: path, store } = config;
  const found = await unlessMissing(() => stat(path));
  const space = await statfs(await nearestExisting(path));
  const volatile = await volatility(path);
  return {
    path,
    kind: found === undefined ? 'missing' : found.isDirectory() ? 'directory' : 'other',
    mode: (found?.mode ?? 0) & 0o7777,
    owner: found?.uid ?? 0,
    user: process.geteuid?.() ?? 0,
    writing: await writing(await nearestExisting(path)),
    freeBytes: space.bavail * space.bsize,
    // File systems without a table of inodes (btrfs) report none in all.
    freeInodes: space.files === 0 ? Infinity : space.ffree,
    ...(volatile !== undefined && { volatile }),
    acceptVolatile: store.acceptVolatileDirectory,
  };
}

async function nearestExisting(path: string): Promise<string> {
  const found = await unlessMissing(() => stat(path));
  return found !== undefined || dirname(path) === path ? path : nearestExisting(dirname(path));
}

async function writing(path: string): Promise<DirectoryFacts['writing']> {
  try {
    await access(path, constants.W_OK);
    return 'possible';
  } catch (error) {
    if (hasErrno(error, 'EROFS')) return 'read-only';
    if (hasErrno(error, 'EACCES', 'EPERM')) return 'denied';
    throw error;
  }
}

async function volatility(path: string): Promise<Failure | undefined> {
  try {
    await refuseVolatile(path);
    return undefined;
  } catch (error) {
    if (hasCode(error, 'STORE_VOLATILE')) return toFailure(error);
    throw error;
  }
}

/** A pair has a few kB, and is written beside the one in use. */
const leastBytes = 1024 * 1024;
const leastInodes = 8;

export function directoryFindings(facts: DirectoryFacts): DoctorFinding[] {
  const { path, kind } = facts;
  if (kind === 'other') {
    return [
      {
        id: 'certificate-directory-invalid',
        severity: 'error',
        what: `the certificate directory ${path} is not a directory`,
        why: 'No pair can be kept there',
        remedy: `mv ${path} ${path}.old`,
      },
    ];
  }
  const findings = [
    ...volatileFindings(facts),
    ...modeFindings(facts),
    ...writeAccessFindings(facts),
    ...spaceFindings(facts),
  ];
  if (findings.length > 0) return findings;
  return kind === 'missing'
    ? [
        {
          id: 'certificate-directory',
          severity: 'info',
          what: `the certificate directory ${path} does not exist yet; the agent creates it`,
        },
      ]
    : [
        {
          id: 'certificate-directory',
          severity: 'ok',
          what: `${path} is on a disk, has mode ${showMode(facts.mode)} and can be written`,
        },
      ];
}

function volatileFindings({ volatile, acceptVolatile }: DirectoryFacts): DoctorFinding[] {
  if (volatile === undefined) return [];
  const why =
    'After a reboot the kubeconfig names a pair that is gone: the node has to bootstrap, and a token that old has expired';
  return [
    {
      id: 'certificate-directory-volatile',
      severity: acceptVolatile ? 'info' : 'error',
      what: acceptVolatile
        ? `${volatile.message}, which the configuration accepts`
        : volatile.message,
      why,
      ...(!acceptVolatile && volatile.remedy !== undefined && { remedy: volatile.remedy }),
    },
  ];
}

function modeFindings({ path, kind, mode, owner, user }: DirectoryFacts): DoctorFinding[] {
  if (kind === 'missing' || (mode & 0o022) === 0) return [];
  // What is the agent's own and not shared it tightens by itself.
  const shared = (mode & 0o1000) !== 0 || owner !== user;
  return [
    {
      id: 'certificate-directory-permissions',
      severity: shared ? 'error' : 'warning',
      what: `the certificate directory ${path} has mode ${showMode(mode)} and owner ${owner}: others may replace its files`,
      why: shared
        ? 'Whoever writes there can give the node an identity of their own; the agent refuses to use it'
        : 'Whoever writes there can give the node an identity of their own; the agent takes the right away when it starts',
      remedy: `chown root ${path} && chmod go-w,-t ${path}`,
    },
  ];
}

function writeAccessFindings({ path, writing, user, owner }: DirectoryFacts): DoctorFinding[] {
  if (writing === 'possible') return [];
  if (writing === 'denied' && user !== 0 && user !== owner) {
    return [
      {
        id: 'certificate-directory-unwritable',
        severity: 'info',
        what: `user ${user} may not write to ${path}; whether the agent may was not looked at`,
        remedy: 'Run this as the user of the agent, mostly root',
      },
    ];
  }
  return [
    {
      id: 'certificate-directory-unwritable',
      severity: 'error',
      what: `${path} cannot be written: ${writing === 'read-only' ? 'the file system is mounted read-only' : 'permission is denied'}`,
      why: 'New pairs cannot be stored, and the ones that are there expire',
      remedy:
        writing === 'read-only'
          ? `mount -o remount,rw $(findmnt -n -o TARGET --target ${path})`
          : `ls -ldZ ${path}; lsattr -d ${path}`,
    },
  ];
}

function spaceFindings({ path, freeBytes, freeInodes }: DirectoryFacts): DoctorFinding[] {
  if (freeBytes >= leastBytes && freeInodes >= leastInodes) return [];
  const left =
    freeBytes < leastBytes ? `${Math.floor(freeBytes / 1024)} KiB` : `${freeInodes} inodes`;
  return [
    {
      id: 'certificate-directory-full',
      severity: 'error',
      what: `the file system of ${path} has ${left} left`,
      why: 'New pairs cannot be stored, and the ones that are there expire',
      remedy: `df -h ${path}; df -i ${path}`,
    },
  ];
}
