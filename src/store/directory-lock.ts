import { spawn } from 'node:child_process';
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  writeSync,
} from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AgentError, hasErrno } from '../core/errors.ts';
import { second } from '../core/instant.ts';
import { makeDirectory } from './atomic-file.ts';
import { storeError } from '../sys/file-error.ts';

/** A process locks this file while it uses the certificate directory. */
export const lockFile = '.nodecertd.lock';

/** The lock lasts until it is disposed or this process ends. */
export interface DirectoryLock extends AsyncDisposable {
  /**
   * False if the machine has no working `flock`. The agent then logs a warning and runs without
   * a lock.
   */
  readonly locked: boolean;
  /** Why `locked` is false. */
  readonly reason?: string;
  /**
   * Whether the lock still protects the directory. A lock whose file was removed or replaced,
   * alone or with the directory, protects nothing, because a second agent can lock the new file.
   * No agent can lock a missing directory.
   */
  state(): Promise<'effective' | 'file-missing' | 'replaced'>;
}

/**
 * Keeps a second agent out of the certificate directory.
 *
 * Node has no flock(2), so `flock` of util-linux or busybox locks a descriptor that it shares
 * with this process. The lock belongs to the open file, not to the process that requested it: it
 * survives the exit of `flock`, and the kernel releases it when our descriptor closes, even
 * after SIGKILL. A pid file would be ambiguous, because another program may get the same pid.
 * @param lockedError creates the error for a directory that another process has locked
 * @throws AgentError STORE_LOCKED, STORE_PERMISSIONS, STORE_FULL, STORE_IO
 */
export async function lockDirectory(
  directory: string,
  lockedError: LockedError = usedByAgent,
): Promise<DirectoryLock> {
  const path = join(directory, lockFile);
  await makeDirectory(directory);
  const descriptor = openLockFile(path);
  const identity = await identityOf(directory);
  try {
    const result = await runFlock(descriptor);
    if (result.kind === 'taken') throw lockedError(directory, holderOf(descriptor));
    if (result.kind === 'locked') writePid(descriptor, path);
    return {
      locked: result.kind === 'locked',
      ...(result.kind === 'unavailable' && { reason: result.reason }),
      state: () => lockState({ descriptor, path, identity }),
      [Symbol.asyncDispose]: async () => release(descriptor),
    };
  } catch (error) {
    release(descriptor);
    throw error;
  }
}

/**
 * A plain descriptor, because garbage collection closes a FileHandle and would release the
 * lock. Node opens with O_CLOEXEC, so no other child process inherits a copy that outlives
 * this process.
 */
function openLockFile(path: string): number {
  try {
    return openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  } catch (error) {
    throw storeError('open the lock file', path, error);
  }
}

async function lockState({
  descriptor,
  path,
  identity,
}: {
  readonly descriptor: number;
  readonly path: string;
  /** Identity of the locked directory. */
  readonly identity: string | undefined;
}): ReturnType<DirectoryLock['state']> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) {
    const directory = await identityOf(dirname(path));
    if (directory === undefined) return 'effective';
    return directory === identity ? 'file-missing' : 'replaced';
  }
  const { dev, ino } = fstatSync(descriptor);
  return found.dev === dev && found.ino === ino ? 'effective' : 'replaced';
}

/**
 * Includes the birth time, because a new directory may get the same inode number. Undefined if
 * the directory does not exist.
 */
async function identityOf(directory: string): Promise<string | undefined> {
  const found = await stat(directory, { bigint: true }).catch(() => undefined);
  return found && `${found.dev} ${found.ino} ${found.birthtimeNs}`;
}

/**
 * Ignores an error of close(2): the kernel closes the descriptor and releases the lock anyway.
 */
function release(descriptor: number): void {
  try {
    closeSync(descriptor);
  } catch {}
}

type FlockResult =
  | { readonly kind: 'locked' }
  | { readonly kind: 'taken' }
  | { readonly kind: 'unavailable'; readonly reason: string };

/** Enough for a fork on a machine that is swapping; `flock -n` itself never waits. */
const flockTimeout = 10 * second;

/** busybox supports only the short options. */
async function runFlock(descriptor: number): Promise<FlockResult> {
  return new Promise((resolve) => {
    const child = spawn('flock', ['-x', '-n', '3'], {
      stdio: ['ignore', 'ignore', 'ignore', descriptor],
      timeout: flockTimeout,
      killSignal: 'SIGKILL',
    });
    child.once('error', (error) => {
      const reason = hasErrno(error, 'ENOENT') ? 'flock is not installed' : error.message;
      resolve({ kind: 'unavailable', reason });
    });
    child.once('exit', (code, signal) => {
      if (code === 0) resolve({ kind: 'locked' });
      else if (code === 1) resolve({ kind: 'taken' });
      else
        resolve({
          kind: 'unavailable',
          reason:
            signal === null ? `flock exited with code ${code}` : `flock was killed by ${signal}`,
        });
    });
  });
}

/** A second agent shows this pid in its error message. The lock does not depend on it. */
function writePid(descriptor: number, path: string): void {
  try {
    ftruncateSync(descriptor);
    writeSync(descriptor, `${process.pid}\n`, 0);
  } catch (error) {
    throw storeError('write the lock file', path, error);
  }
}

/** The pid in the lock file; undefined if the holder has not written it yet. */
function holderOf(descriptor: number): string | undefined {
  const pid = readFileSync(descriptor, 'utf8').trim();
  return /^\d+$/.test(pid) ? pid : undefined;
}

export type LockedError = (directory: string, pid: string | undefined) => AgentError;

function usedByAgent(directory: string, pid: string | undefined): AgentError {
  const holder = pid === undefined ? 'another agent' : `the agent with pid ${pid}`;
  return new AgentError(
    'STORE_LOCKED',
    `the certificate directory ${directory} is in use by ${holder}`,
    {
      remedy:
        'Stop that agent, or set certificateDirectory (--cert-dir) of this agent to another directory',
    },
  );
}
