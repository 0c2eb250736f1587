import type { Failure } from '../../core/errors.ts';
import { AgentError, hasErrno, toFailure } from '../../core/errors.ts';

/**
 * The reason why one certificate is not renewed. The usual remedy for missing permissions makes the
 * agent the owner of a file, but the files of kubeadm belong to root.
 */
export function refusalOf(error: unknown): Failure {
  const failure = toFailure(error);
  return error instanceof AgentError && lacksPermission(error)
    ? { ...failure, remedy: asRoot }
    : failure;
}

/** Runs a command that changes files of root, and adds this remedy to its errors. */
export async function withRootRemedy<T>(command: () => Promise<T>): Promise<T> {
  try {
    return await command();
  } catch (error) {
    if (!(error instanceof AgentError) || !lacksPermission(error)) throw error;
    throw new AgentError(error.code, error.message, { cause: error.cause, remedy: asRoot });
  }
}

/** Other errors with this code have other remedies, such as that of a read-only file system. */
function lacksPermission({ code, cause }: AgentError): boolean {
  return code === 'STORE_PERMISSIONS' && hasErrno(cause, 'EACCES', 'EPERM');
}

export const asRoot =
  'Run the command as root; if root has no permission, check lsattr and the SELinux or AppArmor log';
