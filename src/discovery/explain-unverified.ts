import { X509Certificate } from 'node:crypto';
import { AgentError } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { formatDuration, formatInstant, minute } from '../core/instant.ts';
import { printable } from '../core/printable.ts';
import { nameOf } from '../kube/server-certificate.ts';
import { describeAuthorities, describeAuthority } from './authority.ts';
import type { DiscoveredAuthority } from './discovery.ts';
import { namesOf } from './untrusted-cluster.ts';

/** A connection whose certificate OpenSSL or Node did not accept. */
export interface Unverified {
  /** The code of the verification error, such as CERT_HAS_EXPIRED. */
  readonly code: string;
  /** The certificates that the server sent, its own first. */
  readonly chain: readonly X509Certificate[];
  /** The CAs that the connection trusts. */
  readonly trusted: readonly DiscoveredAuthority[];
  /** All CAs in cluster-info. */
  readonly bundle: readonly DiscoveredAuthority[];
  readonly host: string;
  /** The clock of this machine minus the Date header of the server; undefined without one. */
  readonly clockOffsetMs: number | undefined;
}

/** Says why the certificate was not accepted, and what that means for the pins. */
export function explainUnverified(failure: Unverified): AgentError {
  const { chain, trusted, bundle } = failure;
  if (issuerOf(chain, trusted) !== undefined) return explainTrusted(failure);
  const issuer = issuerOf(chain, bundle);
  return issuer === undefined ? foreignIssuer(failure) : notPinned(issuer, trusted);
}

/** The CA that signed one of the certificates that lead to the server's own. */
function issuerOf(
  chain: readonly X509Certificate[],
  authorities: readonly DiscoveredAuthority[],
): DiscoveredAuthority | undefined {
  const path = connected(chain);
  return authorities.find(({ der }) => {
    const authority = new X509Certificate(der);
    return path.some((certificate) => isIssuedBy(certificate, authority));
  });
}

/** The server may send certificates that do not belong to its own. */
function connected([leaf, ...sent]: readonly X509Certificate[]): X509Certificate[] {
  if (leaf === undefined) return [];
  const path = [leaf];
  for (const certificate of path) {
    const next = sent.filter((other) => !path.includes(other) && isIssuedBy(certificate, other));
    path.push(...next);
  }
  return path;
}

/** Compares keys and not only names, because the old and the new CA are often both "kubernetes". */
function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  try {
    return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
  } catch {
    return false; // OpenSSL does not know this kind of key.
  }
}

function notPinned(
  issuer: DiscoveredAuthority,
  trusted: readonly DiscoveredAuthority[],
): AgentError {
  const hashes = new Set([...trusted, issuer].map(({ pin }) => pin));
  return new AgentError(
    'CLUSTER_UNTRUSTED',
    `the certificate of the server was issued by ${describeAuthority(issuer)}, which is not pinned; pinned: ${describeAuthorities(trusted)}`,
    {
      remedy: `If the cluster is in a CA rollover, ask an administrator to confirm the hash of that CA, and pass both hashes: --ca-cert-hash ${[...hashes].join(' ')}`,
    },
  );
}

function foreignIssuer({ chain: [leaf] }: Unverified): AgentError {
  return new AgentError(
    'CLUSTER_UNTRUSTED',
    `no CA in cluster-info issued the certificate of the server${namesOf(leaf)}: cluster-info was not updated after a CA rollover, or a proxy terminates TLS`,
    {
      remedy:
        'Update the CA in cluster-info: kubectl --namespace kube-public edit configmap cluster-info; if a proxy terminates TLS, set the endpoint to the API server itself',
    },
  );
}

function explainTrusted(failure: Unverified): AgentError {
  switch (failure.code) {
    case 'CERT_HAS_EXPIRED':
      return wrongTime(failure, 'has expired');
    case 'CERT_NOT_YET_VALID':
      return wrongTime(failure, 'is not valid yet');
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
    case 'ERR_TLS_CERT_ALTNAME_FORMAT':
    case 'HOSTNAME_MISMATCH':
      return wrongName(failure);
    default:
      return new AgentError(
        'API_UNTRUSTED',
        `the certificate of the server is not valid (${printable(failure.code, 60)})`,
        { remedy: 'Issue a new certificate for the API server: kubeadm certs renew apiserver' },
      );
  }
}

type WrongTime = 'has expired' | 'is not valid yet';

function wrongTime(failure: Unverified, state: WrongTime): AgentError {
  const clock = wrongClock(failure, state);
  if (clock !== undefined) {
    return new AgentError('API_UNTRUSTED', `the certificate of the server ${state}: ${clock}`, {
      remedy: 'Set the clock of this machine: timedatectl set-ntp true',
    });
  }
  const { what, moment, renewal } = outdatedCertificate(failure, state);
  const when = formatInstant(moment);
  return new AgentError(
    'API_UNTRUSTED',
    state === 'has expired' ? `${what} expired at ${when}` : `${what} is not valid before ${when}`,
    {
      remedy:
        state === 'has expired'
          ? `${renewal}; and check the clock of this machine: timedatectl`
          : 'Check the clocks of this machine and of the control-plane node: timedatectl',
    },
  );
}

/** Undefined if the clock does not explain the state, or the Date header is missing. */
function wrongClock({ clockOffsetMs: offset }: Unverified, state: WrongTime): string | undefined {
  if (offset === undefined || Math.abs(offset) < minute) return undefined;
  if ((state === 'has expired') !== offset > 0) return undefined;
  const direction = offset > 0 ? 'ahead of' : 'behind';
  return `the clock of this machine is ${formatDuration(Math.abs(offset))} ${direction} the Date header of the server`;
}

/** The certificate that expired first or becomes valid last. */
function outdatedCertificate(
  { chain, trusted }: Unverified,
  state: WrongTime,
): OutdatedCertificate {
  const path = connected(chain);
  const issuer = issuerOf(chain, trusted);
  const certificates = issuer === undefined ? path : [...path, new X509Certificate(issuer.der)];
  const [first] =
    state === 'has expired'
      ? certificates.toSorted((a, b) => a.validToDate.getTime() - b.validToDate.getTime())
      : certificates.toSorted((a, b) => b.validFromDate.getTime() - a.validFromDate.getTime());
  const date = state === 'has expired' ? first?.validToDate : first?.validFromDate;
  const name = first === undefined ? '' : ` (${nameOf(first.subject)})`;
  const moment = date?.getTime() ?? 0;
  if (first === path[0]) return { what: `the certificate of the server${name}`, moment, renewal };
  return { what: `the CA of the server${name}`, moment, renewal: 'Renew the CA of the cluster' };
}

interface OutdatedCertificate {
  readonly what: string;
  readonly moment: Instant;
  /** The remedy if it has expired. */
  readonly renewal: string;
}

const renewal = 'Renew the certificate on the control-plane node: kubeadm certs renew apiserver';

function wrongName({ chain: [leaf], host }: Unverified): AgentError {
  const names = leaf?.subjectAltName?.replaceAll(/(?:DNS|IP Address):/g, '') ?? 'no name';
  return new AgentError(
    'API_UNTRUSTED',
    `the certificate of the server is for ${printable(names, 300)}, not for ${host}`,
    {
      remedy: `Use an address that the certificate contains, or add ${host} to it (kubeadm: apiServer.certSANs)`,
    },
  );
}
