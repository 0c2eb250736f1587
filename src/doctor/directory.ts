import { access, constants, stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { AgentConfig } from '../core/config.ts';
import type { Failure } from '../core/errors.ts';
import { hasCode, hasErrno, toFailure } from '../core/errors.ts';
import { showMode } from '../core/file-mode.ts';
import type { DoctorFinding } from '../core/findings.ts';
import { refuseVolatile } from '../store/certificate-directory.ts';
import { unlessMissing } from '../sys/file-error.ts';
import { asAgentUser } from './check.ts';

/** The state of the certificate directory. */
export interface DirectoryFacts {
  readonly path: string;
  readonly kind: 'missing' | 'directory' | 'other';
  readonly mode: number;
  readonly owner: number;
  /** The user id of this process. */
  readonly user: number;
  readonly writing: 'possible' | 'read-only' | 'denied';
  /** Of the file system that holds the directory or will hold it. */
  readonly freeBytes: number;
  readonly freeInodes: number;
  /** Set if its files are lost at a reboot. */
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
    // File systems without an inode table (btrfs) report zero in total.
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

/** A PEM file has a few kB and is written beside the current one. */
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
        why: 'The agent cannot store certificates there',
        remedy: `Move it away: mv ${path} ${path}.old`,
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
          what: `${path} is writable, on a disk, and has mode ${showMode(facts.mode)}`,
        },
      ];
}

function volatileFindings({ volatile, acceptVolatile }: DirectoryFacts): DoctorFinding[] {
  if (volatile === undefined) return [];
  const why =
    'After a reboot the certificate is gone: the node must bootstrap again, and its old token has expired';
  return [
    {
      id: 'certificate-directory-volatile',
      severity: acceptVolatile ? 'info' : 'error',
      what: acceptVolatile
        ? `${volatile.message}; the configuration accepts that`
        : volatile.message,
      why,
      ...(!acceptVolatile && volatile.remedy !== undefined && { remedy: volatile.remedy }),
    },
  ];
}

function modeFindings({ path, kind, mode, owner, user }: DirectoryFacts): DoctorFinding[] {
  if (kind === 'missing' || (mode & 0o022) === 0) return [];
  // The agent fixes the mode only if its user owns the directory and there is no sticky bit.
  const shared = (mode & 0o1000) !== 0 || owner !== user;
  return [
    {
      id: 'certificate-directory-permissions',
      severity: shared ? 'error' : 'warning',
      what: `other users can replace files in the certificate directory ${path} (mode ${showMode(mode)}, owner ${owner})`,
      why: shared
        ? 'Anyone who can write there can replace the identity of the node, so the agent refuses to use the directory'
        : 'Anyone who can write there can replace the identity of the node; the agent fixes the mode when it starts',
      remedy: `Fix the permissions: chown root ${path} && chmod go-w,-t ${path}`,
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
        what: `user ${user} cannot write to ${path}; the agent may run as another user`,
        remedy: asAgentUser,
      },
    ];
  }
  return [
    {
      id: 'certificate-directory-unwritable',
      severity: 'error',
      what: `cannot write to ${path}: ${writing === 'read-only' ? 'the file system is mounted read-only' : 'permission denied'}`,
      why: 'The agent cannot store new certificates, and the current ones expire',
      remedy:
        writing === 'read-only'
          ? `Mount it writable: mount -o remount,rw $(findmnt -n -o TARGET --target ${path})`
          : `Check its mode, owner, and attributes: ls -ldZ ${path}; lsattr -d ${path}`,
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
      what: `the file system of ${path} has only ${left} left`,
      why: 'The agent cannot store new certificates, and the current ones expire',
      remedy: `Free space or inodes: df -h ${path}; df -i ${path}`,
    },
  ];
}
