import type { AgentError, Failure } from '../../core/errors.ts';
import { toFailure } from '../../core/errors.ts';

/**
 * The reason why one certificate is left out. The usual remedy for missing permissions makes the
 * agent the owner of a file, but the files of kubeadm belong to root.
 */
export function refusalOf(error: AgentError): Failure {
  const failure = toFailure(error);
  return failure.code === 'STORE_PERMISSIONS' ? { ...failure, remedy: asRoot } : failure;
}

export const asRoot = 'Run the command as root, or check the SELinux or AppArmor log';
