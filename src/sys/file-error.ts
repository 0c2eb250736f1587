import { dirname } from 'node:path';
import type { ErrorCode } from '../core/errors.ts';
import { AgentError, hasErrno } from '../core/errors.ts';

/** Runs one step on a file, and says which step on which file when it fails. */
export async function attempt<T>(action: string, path: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    throw storeError(action, path, error);
  }
}

/**
 * What the kernel answered, as one of the three ways in which a store fails. An
 * AgentError passes unchanged, so that steps can be nested.
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
      remedy: `Give ${path} to the user of the agent; check also lsattr and the SELinux or AppArmor log`,
    };
  }
  if (hasErrno(error, 'EMFILE', 'ENFILE')) {
    return { code: 'STORE_IO', remedy: 'Raise the limit of open files (LimitNOFILE= of the unit)' };
  }
  return { code: 'STORE_IO', remedy: `Check the disk that holds ${path} and the kernel log` };
}

/** The path leads nowhere: the file, a folder on the way or the target of a link is not there. */
export function isMissing(error: unknown): boolean {
  return hasErrno(causeOf(error), 'ENOENT', 'ENOTDIR', 'ELOOP');
}

/** The content was read and found to be no pair; every other failure says nothing about the content. */
export function isBadContent(error: unknown): error is AgentError {
  return (
    error instanceof AgentError &&
    (error.code === 'PAIR_MALFORMED' || error.code === 'CERT_KEY_MISMATCH')
  );
}

/**
 * Bad content is an answer, every other failure is none: only the first may lead to
 * a file being put out of the way.
 */
export async function orBadContent<T>(read: () => Promise<T>): Promise<T | AgentError> {
  try {
    return await read();
  } catch (error) {
    if (isBadContent(error)) return error;
    throw error;
  }
}

/** Undefined where the path leads nowhere. */
export async function unlessMissing<T>(look: () => Promise<T>): Promise<T | undefined> {
  try {
    return await look();
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

function causeOf(error: unknown): unknown {
  return error instanceof AgentError ? error.cause : error;
}
