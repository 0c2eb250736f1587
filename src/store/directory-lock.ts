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

/** In the certificate directory; who has it open, and locked, works on that directory. */
export const lockFile = '.nodecertd.lock';

/** Held until disposed, or until this process ends in whatever way. */
export interface DirectoryLock extends AsyncDisposable {
  /** False where the machine cannot lock: the agent may run, and should say so. */
  readonly locked: boolean;
  /** Why it could not. */
  readonly reason?: string;
  /**
   * Whether the lock still guards the directory. It does not once its file has left its
   * place, alone or with the directory: a second agent could lock the one that took it,
   * or make one. While the directory is gone nobody can.
   */
  standing(): Promise<'guards' | 'file-missing' | 'replaced'>;
}

/**
 * Keeps a second agent out of the certificate directory.
 *
 * Node has no flock(2), so util-linux's (or busybox's) `flock` takes it on a
 * descriptor that it shares with us. Such a lock belongs to the open file, not to
 * the process that asked for it: it outlives the helper, and the kernel drops it
 * when our descriptor closes, even on SIGKILL. A pid file would need someone to
 * decide whether that pid is still the same program.
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
 * A plain descriptor, since a FileHandle is closed when it is collected, and the lock
 * would go with it. Node opens with O_CLOEXEC: no other child gets a copy that would
 * keep the lock alive after us.
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
  /** Of the directory that was locked. */
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

/** With the time of birth, since an inode's number is given to the next file at once; undefined when there is none. */
async function identityOf(directory: string): Promise<string | undefined> {
  const found = await stat(directory, { bigint: true }).catch(() => undefined);
  return found && `${found.dev} ${found.ino} ${found.birthtimeNs}`;
}

/** A disk that fails now takes nothing back: the descriptor is gone, and the lock with it. */
function release(descriptor: number): void {
  try {
    closeSync(descriptor);
  } catch {}
}

type FlockAnswer =
  | { readonly kind: 'locked' }
  | { readonly kind: 'taken' }
  | { readonly kind: 'unavailable'; readonly reason: string };

/** Longer than a fork takes on a machine that is swapping; `-n` itself never waits. */
const patience = 10 * second;

/** Short options are the ones that busybox knows too. */
async function runFlock(descriptor: number): Promise<FlockAnswer> {
  return new Promise((resolve) => {
    const child = spawn('flock', ['-x', '-n', '3'], {
      stdio: ['ignore', 'ignore', 'ignore', descriptor],
      timeout: patience,
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
          reason: `flock ended with ${signal ?? `exit code ${code}`}`,
        });
    });
  });
}

/** For the message of the next one who tries; the lock itself does not depend on it. */
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
    { remedy: 'Stop that agent, or give this one a directory of its own' },
  );
}
