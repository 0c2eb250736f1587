import { AgentError, hasErrno } from '../../core/errors.ts';
import { isMissing } from '../../sys/file-error.ts';
import { readSmallFile } from '../../sys/small-file.ts';

/** Real manifests have a few kB. Parsing 1 MiB of YAML aliases would take 20 seconds. */
const largest = 256 * 1024;

/**
 * The text of a manifest or a configuration. The message of an error follows the path in a
 * sentence and does not contain it: a configuration may name any text as a path.
 * @throws AgentError CONFIG_UNREADABLE, STORE_IO
 */
export async function readText(path: string): Promise<string> {
  try {
    const bytes = await readSmallFile(path, largest);
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    if (error instanceof RangeError) throw new AgentError('CONFIG_UNREADABLE', error.message);
    if (error instanceof TypeError) throw new AgentError('CONFIG_UNREADABLE', 'is not a text file');
    throw new AgentError('STORE_IO', fileFailure(error));
  }
}

/** `does not exist`, or the code of the kernel: `cannot be read (EACCES)`. */
export function fileFailure(error: unknown): string {
  if (hasErrno(error, 'ELOOP')) return 'is a loop of links';
  if (isMissing(error)) return 'does not exist';
  const code = error instanceof Error && 'code' in error ? ` (${String(error.code)})` : '';
  return `cannot be read${code}`;
}
