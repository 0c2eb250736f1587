import type { RefusedTrust } from '../../core/trust-report.ts';
import type { TrustRefusal } from '../../core/trust.ts';
import type { TrustSource } from './source.ts';
import { describeSource } from './source.ts';

/** Why the CAs of a source are refused. The message follows the name of the source. */
export class TrustFault extends Error {
  override readonly name = 'TrustFault';
  readonly reason: TrustRefusal;
  readonly remedy: string | undefined;

  /** @param remedy the fix; the fix of the reason if absent */
  constructor(reason: TrustRefusal, message: string, remedy?: string) {
    super(message);
    this.reason = reason;
    this.remedy = remedy;
  }
}

export function refusedTrust(
  { reason, message, remedy }: TrustFault,
  source: TrustSource,
): RefusedTrust {
  return {
    code: 'TRUST_REFUSED',
    reason,
    message: `this node does not trust the CAs in ${describeSource(source)}: ${message}`,
    remedy: remedy ?? remedies[reason](originOf(source)),
  };
}

/** Where an administrator changes the CAs of a source. */
function originOf(source: TrustSource): string {
  return source.kind === 'cluster-trust-bundle'
    ? 'the file of kube-controller-manager --root-ca-file'
    : describeSource(source);
}

const checkClocks = 'Check the clock of this node and of the machine that made the CA: timedatectl';

function rewrite(origin: string): string {
  return `Write complete PEM blocks of CA certificates, and nothing else, into ${origin}`;
}

function replace(origin: string): string {
  return `Remove the certificate from ${origin}, or replace it with a CA that passes the check`;
}

const remedies: Readonly<Record<TrustRefusal, (origin: string) => string>> = {
  malformed: rewrite,
  'too-large': rewrite,
  'too-many': (origin) => `Remove CAs that no longer sign certificates from ${origin}`,
  'private-key': (origin) =>
    `Remove the private key from ${origin}; if others could read it, replace the CA`,
  'not-a-ca': replace,
  expired: (origin) => `Remove the expired CA from ${origin}. ${checkClocks}`,
  'not-yet-valid': () => checkClocks,
  'weak-key': replace,
  'weak-signature': replace,
  'not-self-signed': (origin) => `Add the CA that issued it to ${origin}`,
  'not-pinned': (origin) =>
    `If this CA belongs to the cluster, add its pin to trust.caCertHashes; otherwise remove it from ${origin}, and find out who added it`,
  'does-not-verify-server': (origin) =>
    `Add the CA that issued the certificates of the API servers to ${origin}`,
};
