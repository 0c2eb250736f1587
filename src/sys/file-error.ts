import { dirname } from 'node:path';
import type { ErrorCode } from '../core/errors.ts';
import { AgentError, hasErrno } from '../core/errors.ts';

/** Runs one step on a file. The error of a failure names the step and the file. */
export async function attempt<T>(action: string, path: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    throw storeError(action, path, error);
  }
}

/**
 * Turns an error of the kernel into one of three store errors. Passes an AgentError unchanged,
 * so that steps can be nested.
 */
export function storeError(action: string, path: string, error: unknown): AgentError {
  if (error instanceof AgentError) return error;
  const { code, remedy } = classify(error, path);
  return new AgentError(code, `cannot ${action} ${path}`, { cause: error, remedy });
}

function classify(
  error: unknown,
  path: string,
): { readonly code: ErrorCode; readonly remedy: string } {
  if (hasErrno(error, 'ENOSPC', 'EDQUOT')) {
    return {
      code: 'STORE_FULL',
      remedy: `Free space or inodes on the file system of ${dirname(path)}, or raise the quota`,
    };
  }
  if (hasErrno(error, 'EROFS')) {
    return {
      code: 'STORE_PERMISSIONS',
      remedy: `Mount the file system of ${dirname(path)} writable, or add it to ReadWritePaths= of the unit`,
    };
  }
  if (hasErrno(error, 'EACCES', 'EPERM')) {
    return {
      code: 'STORE_PERMISSIONS',
      remedy: `Make the user of the agent the owner of ${path}, and check lsattr and the SELinux or AppArmor log`,
    };
  }
  if (hasErrno(error, 'EMFILE', 'ENFILE')) {
    return { code: 'STORE_IO', remedy: 'Raise the limit of open files (LimitNOFILE= of the unit)' };
  }
  if (hasErrno(error, 'ENAMETOOLONG')) return { code: 'STORE_IO', remedy: shorterPath };
  return {
    code: 'STORE_IO',
    remedy: `Check the disk of ${path} and the kernel log: journalctl -k`,
  };
}

/** NAME_MAX and PATH_MAX of Linux. */
export const shorterPath =
  'Use a shorter path: Linux allows 255 bytes in each name and 4095 in the path';

/** The file, a directory on the way, or the target of a link does not exist. */
export function isMissing(error: unknown): boolean {
  return hasErrno(causeOf(error), 'ENOENT', 'ENOTDIR', 'ELOOP');
}

/** This user may not do it. */
export function isForbidden(error: unknown): boolean {
  return hasErrno(causeOf(error), 'EACCES', 'EPERM');
}

/**
 * True if the content was read and is not a key pair. After any other failure, the file may
 * still contain one.
 */
export function isBadContent(error: unknown): error is AgentError {
  return (
    error instanceof AgentError &&
    (error.code === 'PAIR_MALFORMED' || error.code === 'CERT_KEY_MISMATCH')
  );
}

/**
 * Returns an error about bad content, and throws all others: a caller may set a file aside only
 * after reading its content.
 */
export async function orBadContent<T>(read: () => Promise<T>): Promise<T | AgentError> {
  try {
    return await read();
  } catch (error) {
    if (isBadContent(error)) return error;
    throw error;
  }
}

/** Undefined if the path, or the target of its link, does not exist. */
export async function unlessMissing<T>(read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

function causeOf(error: unknown): unknown {
  return error instanceof AgentError ? error.cause : error;
}
