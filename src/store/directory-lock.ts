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

/** The process that holds a lock on this file works on the certificate directory. */
export const lockFile = '.nodecertd.lock';

/** Held until it is disposed or this process ends. */
export interface DirectoryLock extends AsyncDisposable {
  /**
   * False if the machine has no working `flock`. The agent runs all the same and logs a
   * warning.
   */
  readonly locked: boolean;
  /** Why `locked` is false. */
  readonly reason?: string;
  /**
   * Whether the lock still protects the directory. It does not after its file was removed or
   * replaced, alone or with the directory, because a second agent could lock the new file.
   * While the directory is missing, no second agent can.
   */
  standing(): Promise<'guards' | 'file-missing' | 'replaced'>;
}

/**
 * Keeps a second agent out of the certificate directory.
 *
 * Node has no flock(2), so `flock` of util-linux or busybox locks a descriptor that it shares
 * with this process. The lock belongs to the open file, not to the process that requested it:
 * it survives the helper, and the kernel releases it when our descriptor closes, even after
 * SIGKILL. A pid file would need a check whether that pid is still the same program.
 * @throws AgentError STORE_LOCKED, STORE_PERMISSIONS, STORE_FULL, STORE_IO
 */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  const path = join(directory, lockFile);
  await makeDirectory(directory);
  const descriptor = openLockFile(path);
  const identity = await identityOf(directory);
  try {
    const answer = await runFlock(descriptor);
    if (answer.kind === 'taken') throw lockedError(directory, descriptor);
    if (answer.kind === 'locked') writePid(descriptor, path);
    return {
      locked: answer.kind === 'locked',
      ...(answer.kind === 'unavailable' && { reason: answer.reason }),
      standing: () => standingOf({ descriptor, path, identity }),
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

async function standingOf({
  descriptor,
  path,
  identity,
}: {
  readonly descriptor: number;
  readonly path: string;
  /** Identity of the locked directory. */
  readonly identity: string | undefined;
}): ReturnType<DirectoryLock['standing']> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) {
    const directory = await identityOf(dirname(path));
    if (directory === undefined) return 'guards';
    return directory === identity ? 'file-missing' : 'replaced';
  }
  const { dev, ino } = fstatSync(descriptor);
  return found.dev === dev && found.ino === ino ? 'guards' : 'replaced';
}

/**
 * Includes the birth time, because the next file may get the same inode number. Undefined if
 * there is no directory.
 */
async function identityOf(directory: string): Promise<string | undefined> {
  const found = await stat(directory, { bigint: true }).catch(() => undefined);
  return found && `${found.dev} ${found.ino} ${found.birthtimeNs}`;
}

/**
 * A failing disk does not matter here: the kernel closes the descriptor and releases the lock
 * anyway.
 */
function release(descriptor: number): void {
  try {
    closeSync(descriptor);
  } catch {}
}

type FlockAnswer =
  | { readonly kind: 'locked' }
  | { readonly kind: 'taken' }
  | { readonly kind: 'unavailable'; readonly reason: string };

/** Enough for a fork on a machine that is swapping; `flock -n` itself never waits. */
const flockTimeout = 10 * second;

/** busybox knows only the short options. */
async function runFlock(descriptor: number): Promise<FlockAnswer> {
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
          reason: `flock exited with ${signal ?? `exit code ${code}`}`,
        });
    });
  });
}

/** Used in the error message of a second agent. The lock does not depend on it. */
function writePid(descriptor: number, path: string): void {
  try {
    ftruncateSync(descriptor);
    writeSync(descriptor, `${process.pid}\n`, 0);
  } catch (error) {
    throw storeError('write the lock file', path, error);
  }
}

function lockedError(directory: string, descriptor: number): AgentError {
  const pid = readFileSync(descriptor, 'utf8').trim();
  const holder = /^\d+$/.test(pid) ? `the agent with pid ${pid}` : 'another agent';
  return new AgentError(
    'STORE_LOCKED',
    `the certificate directory ${directory} is in use by ${holder}`,
    {
      remedy:
        'Stop that agent, or set certificateDirectory (--cert-dir) of this one to another directory',
    },
  );
}
