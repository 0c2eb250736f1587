import type { BootstrapToken } from '../core/bootstrap-token.ts';
import { parseBootstrapToken } from '../core/bootstrap-token.ts';
import { AgentError, hasErrno } from '../core/errors.ts';
import { newTokenRemedy } from '../core/remedies.ts';
import { readSmallFile } from '../sys/small-file.ts';

/** A token has 23 bytes. White space around it does no harm. */
const longestFile = 4 * 1024;

/**
 * Reads a file that contains a bootstrap token and nothing else.
 * @throws AgentError KUBECONFIG_MISSING, KUBECONFIG_INVALID
 */
export async function readTokenFile(path: string): Promise<BootstrapToken> {
  const bytes = await readSmallFile(path, longestFile).catch((error: unknown) => {
    throw unreadable(path, error);
  });
  const token = parseBootstrapToken(bytes);
  bytes.fill(0);
  if (token !== undefined) return token;
  throw new AgentError(
    'KUBECONFIG_INVALID',
    `the token file ${path} does not contain one bootstrap token, such as abcdef.0123456789abcdef`,
    { remedy: newTokenRemedy(path) },
  );
}

function unreadable(path: string, cause: unknown): AgentError {
  const remedy = newTokenRemedy(path);
  return hasErrno(cause, 'ENOENT', 'ENOTDIR')
    ? new AgentError('KUBECONFIG_MISSING', `the token file ${path} does not exist`, { remedy })
    : new AgentError('KUBECONFIG_INVALID', `cannot read the token file ${path}`, { cause, remedy });
}
