import { AgentError, toFailure } from '../../core/errors.ts';
import type { Failure } from '../../core/errors.ts';
import { scanPem } from '../../core/pem.ts';
import type { TrustAuthority } from '../../core/trust.ts';
import { kubeconfigAuthority } from '../../kube/kubeconfig-authority.ts';
import { openKubeconfig } from '../../kube/kubeconfig.ts';
import { storeError } from '../../sys/file-error.ts';
import { readSmallFile } from '../../sys/small-file.ts';
import { readAuthorities } from '../../kube/authorities.ts';

/** The CAs that a kubeconfig or a PEM file has now. */
export interface PlaceContent {
  /** The CA file that a kubeconfig names. */
  readonly file?: string;
  readonly authorities: readonly TrustAuthority[];
  /** What is wrong with each block that is left out. */
  readonly malformed: readonly string[];
  /** Why the CAs cannot be read. */
  readonly problem?: Failure;
}

const largestFile = 1024 * 1024;

/** Never rejects: a place that cannot be read must not hide the others. */
export async function readPlace(form: 'kubeconfig' | 'pem', path: string): Promise<PlaceContent> {
  let file: string | undefined;
  try {
    if (form === 'pem') return await readPemFile(path);
    const source = kubeconfigAuthority(await openKubeconfig(path));
    if (source === undefined) throw withoutAuthority(path);
    if (source.kind === 'data') return authoritiesIn(path, source.bytes);
    if (source.shown !== source.path) throw notPath(path);
    file = source.path;
    return { file, ...(await readPemFile(source.path)) };
  } catch (error) {
    const problem = toFailure(error);
    return { ...(file !== undefined && { file }), authorities: [], malformed: [], problem };
  }
}

function withoutAuthority(path: string): AgentError {
  const message = `kubeconfig ${path} has no certificate authority, so its users trust the CAs of the machine`;
  return new AgentError('KUBECONFIG_UNSUPPORTED', message, {
    remedy: `Set certificate-authority in ${path} to a file with the CAs of the cluster`,
  });
}

/** An administrator may have pasted a key in place of a path, so the message does not repeat it. */
function notPath(path: string): AgentError {
  return new AgentError('KUBECONFIG_INVALID', `certificate-authority in ${path} is not a path`, {
    remedy: `Set certificate-authority in ${path} to an absolute path`,
  });
}

async function readPemFile(path: string): Promise<PlaceContent> {
  try {
    return authoritiesIn(path, await readSmallFile(path, largestFile));
  } catch (error) {
    if (!(error instanceof RangeError)) throw storeError('read', path, error);
    throw new AgentError('PAIR_MALFORMED', `${path} ${error.message}`, {
      remedy: `Replace ${path} with a PEM file of CA certificates`,
    });
  }
}

/** @throws AgentError PAIR_MALFORMED for a file with other blocks, which a change would lose */
function authoritiesIn(path: string, bytes: Uint8Array): PlaceContent {
  const { blocks } = scanPem(bytes);
  const other = blocks.find(({ label }) => label !== 'CERTIFICATE');
  for (const { der } of blocks) der.fill(0);
  if (other !== undefined) {
    bytes.fill(0);
    throw new AgentError('PAIR_MALFORMED', `${path} also contains a PEM block ${other.label}`, {
      remedy: `Move the PEM block ${other.label} to another file`,
    });
  }
  const { authorities, problems: malformed } = readAuthorities(bytes);
  return { authorities, malformed };
}
