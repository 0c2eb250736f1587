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
import { storeError } from './store-error.ts';

/** In the certificate directory; who has it open, and locked, works on that directory. */
export const lockFile = '.nodecertd.lock';

/** Held until disposed, or until this process ends in whatever way. */
export interface DirectoryLock extends AsyncDisposable {
  /** False where the machine cannot lock: the agent may run, and should say so. */
  readonly locked: boolean;
  /** Why it could not. */
  readonly reason?: string;
  /**
   * False once the lock is on a file that has left its place, and a second agent could
   * lock the one that took it. True while the directory is gone: nobody can lock it then.
   */
  isCurrent(): Promise<boolean>;
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
  try {
    const answer = await runFlock(descriptor);
    if (answer.kind === 'taken') throw lockedError(directory, descriptor);
    if (answer.kind === 'locked') writePid(descriptor, path);
    return {
      locked: answer.kind === 'locked',
      ...(answer.kind === 'unavailable' && { reason: answer.reason }),
      isCurrent: () => isInPlace(descriptor, path),
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

async function isInPlace(descriptor: number, path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) return !(await directoryIsThere(dirname(path)));
  const { dev, ino } = fstatSync(descriptor);
  return found.dev === dev && found.ino === ino;
}

async function directoryIsThere(directory: string): Promise<boolean> {
  return stat(directory).then(
    (found) => found.isDirectory(),
    () => false,
  );
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
