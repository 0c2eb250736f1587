import { X509Certificate } from 'node:crypto';
import type { Failure } from '../core/errors.ts';
import { parseFingerprint } from '../core/fingerprint.ts';
import { hostOf } from '../core/host-port.ts';
import type { Instant } from '../core/instant.ts';
import { formatInstant } from '../core/instant.ts';
import { parsePem } from '../core/pem.ts';
import { printable } from '../core/printable.ts';
import { discoverCommand, endpointOf } from '../core/remedies.ts';
import { shortFingerprint } from '../core/trust.ts';
import { bootstrapTokenId } from './bootstrap-token.ts';
import type { ClusterAccess } from './cluster-access.ts';

/** For each error of a failed verification, the certificate that the server presented. */
const presented = new WeakMap<Error, X509Certificate>();

export function rememberCertificate(error: Error, certificate: X509Certificate): void {
  presented.set(error, certificate);
}

export interface CertificateProblem {
  /** Continues "the API server at URL": its certificate … */
  readonly message: string;
  readonly remedy: string;
}

interface FailedVerification {
  readonly access: ClusterAccess;
  /** Absent behind a proxy, unless the name is wrong: Node attaches the certificate only to that error. */
  readonly certificate: X509Certificate | undefined;
}

type Explanation = (failure: FailedVerification) => CertificateProblem;

/**
 * The explanation of each verification error of a server certificate. It replaces Node's
 * message, which recommends options of Node. The codes are X509_V_ERR_* in Node's spelling, and
 * Node's own codes for a wrong name.
 */
const explanations: Readonly<Record<string, Explanation>> = {
  ERR_TLS_CERT_ALTNAME_INVALID: wrongName,
  ERR_TLS_CERT_ALTNAME_FORMAT: wrongName,
  HOSTNAME_MISMATCH: wrongName,
  CERT_HAS_EXPIRED: expired,
  CERT_NOT_YET_VALID: notYetValid,
  DEPTH_ZERO_SELF_SIGNED_CERT: selfSigned,
  SELF_SIGNED_CERT_IN_CHAIN: unknownAuthority,
  UNABLE_TO_GET_ISSUER_CERT: unknownAuthority,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: unknownAuthority,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: unknownAuthority,
  UNABLE_TO_DECRYPT_CERT_SIGNATURE: unknownAuthority,
  CERT_SIGNATURE_FAILURE: unknownAuthority,
  CERT_UNTRUSTED: unknownAuthority,
  INVALID_PURPOSE: wrongUsage,
  UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY: invalidChain,
  ERROR_IN_CERT_NOT_BEFORE_FIELD: invalidChain,
  ERROR_IN_CERT_NOT_AFTER_FIELD: invalidChain,
  CERT_CHAIN_TOO_LONG: invalidChain,
  CERT_REVOKED: invalidChain,
  CERT_REJECTED: invalidChain,
  INVALID_CA: invalidChain,
  PATH_LENGTH_EXCEEDED: invalidChain,
};

/** True for the code of an error that is about the server's certificate. */
export function isVerificationCode(code: string): boolean {
  return Object.hasOwn(explanations, code);
}

/** Whether this failure to verify a server says that no trusted CA has signed its certificate. */
export function isUnknownAuthority({ message }: Failure): boolean {
  const [, code = ''] = /\((\w+)\)$/.exec(message) ?? [];
  return Object.hasOwn(explanations, code) && explanations[code] === unknownAuthority;
}

/** Undefined for an error that is not about the server's certificate. */
export function explainCertificateError(
  error: Error,
  code: string,
  access: ClusterAccess,
): CertificateProblem | undefined {
  if (!isVerificationCode(code)) return undefined;
  return explanations[code]?.({
    access,
    certificate: presented.get(error) ?? certificateIn(error),
  });
}

function certificateIn(error: Error): X509Certificate | undefined {
  if (!('cert' in error)) return undefined;
  const { raw } = error.cert as { readonly raw?: Uint8Array };
  return raw === undefined ? undefined : new X509Certificate(raw);
}

function wrongName({ access, certificate }: FailedVerification): CertificateProblem {
  const { path, cluster } = access;
  const wanted = cluster.tlsServerName ?? hostOf(new URL(cluster.server));
  const names = certificate === undefined ? 'other names' : namesOf(certificate);
  const key = cluster.tlsServerName === undefined ? 'server or tls-server-name' : 'tls-server-name';
  return {
    message: `its certificate is for ${names}, not for ${wanted}`,
    remedy: `Set ${key} in ${path} to a name of the certificate, or add ${wanted} to the certificate (kubeadm: apiServer.certSANs)`,
  };
}

function namesOf({ subjectAltName }: X509Certificate): string {
  const names = subjectAltName?.replaceAll(/(?:DNS|IP Address):/g, '');
  return names === undefined ? 'no host' : printable(names, 300);
}

function expired(failure: FailedVerification): CertificateProblem {
  const chain = chainOf(failure);
  const [first] = chain.toSorted((a, b) => endOf(a) - endOf(b));
  const clock = 'and check the clock of this node: timedatectl';
  if (first === undefined || first === failure.certificate) {
    const ended = first === undefined ? 'has expired' : `expired at ${formatInstant(endOf(first))}`;
    return {
      message: `its certificate ${ended}`,
      remedy: `Renew the certificate of the API server (kubeadm certs renew apiserver), ${clock}`,
    };
  }
  return {
    message: `the CA of its certificate, ${nameOf(first.subject)}, expired at ${formatInstant(endOf(first))}`,
    remedy: `Renew the CA of the cluster, ${clock}`,
  };
}

function notYetValid(failure: FailedVerification): CertificateProblem {
  const chain = chainOf(failure);
  const [last] = chain.toSorted((a, b) => startOf(b) - startOf(a));
  const what =
    last === undefined || last === failure.certificate
      ? 'its certificate'
      : 'the CA of its certificate';
  const until =
    last === undefined ? 'not valid yet' : `not valid before ${formatInstant(startOf(last))}`;
  return {
    message: `${what} is ${until}`,
    remedy:
      'Correct the clock of this node or of the machine that issued the certificate: timedatectl',
  };
}

function selfSigned({ access: { path }, certificate }: FailedVerification): CertificateProblem {
  const subject = certificate === undefined ? '' : ` (${nameOf(certificate.subject)})`;
  return {
    message: `its certificate is self-signed${subject}`,
    remedy: `Check that server in ${path} is the API server; if it is, put its certificate into certificate-authority-data of ${path}`,
  };
}

function unknownAuthority({ access, certificate }: FailedVerification): CertificateProblem {
  const { path } = access;
  const trusted = authoritiesOf(access);
  const sameName = trusted.filter(({ subject }) => subject === certificate?.issuer);
  const known = trusted.map(withFingerprint).join('; ') || 'the CAs of this system';
  const presented = describePresented(certificate);
  return {
    message:
      sameName.length > 0
        ? `${presented}, but ${path} contains another CA of that name: ${printable(sameName.map(withFingerprint).join('; '), 500)}`
        : `${presented}, and ${path} trusts only ${printable(known, 500)}`,
    remedy: isBootstrap(access)
      ? `If this is the right cluster, write ${path} with its new CA and a token (on a control plane: kubeadm token create --print-join-command): ${discoverCommand({ endpoints: [endpointOf(access.cluster.server)], output: path })} --force`
      : `Put the CA that signed the certificate into certificate-authority-data of ${path}, if this is the right cluster`,
  };
}

/** The old and the new CA of a cluster often have the same name, so it takes the fingerprints to tell them apart. */
function describePresented(certificate: X509Certificate | undefined): string {
  if (certificate === undefined) return 'its certificate was signed by an unknown CA';
  const authority = servedChain(certificate)[1];
  const issuer = authority === undefined ? nameOf(certificate.issuer) : withFingerprint(authority);
  return `its certificate (SHA-256 ${fingerprintOf(certificate)}) was signed by ${issuer}`;
}

function withFingerprint(authority: X509Certificate): string {
  return `${nameOf(authority.subject)} (SHA-256 ${fingerprintOf(authority)})`;
}

function fingerprintOf({ fingerprint256 }: X509Certificate): string {
  return shortFingerprint(parseFingerprint(fingerprint256) ?? '');
}

function isBootstrap({ credential: { token } }: ClusterAccess): boolean {
  return token !== undefined && bootstrapTokenId(token) !== undefined;
}

function wrongUsage({ access: { path }, certificate }: FailedVerification): CertificateProblem {
  const subject = certificate === undefined ? '' : ` (${nameOf(certificate.subject)})`;
  return {
    message: `its certificate has no usage "server auth"${subject}`,
    remedy: `Check that server in ${path} is the API server, and issue its certificate with the usage "server auth"`,
  };
}

function invalidChain({ certificate }: FailedVerification): CertificateProblem {
  const issuer = certificate === undefined ? '' : ` (issuer ${nameOf(certificate.issuer)})`;
  return {
    message: `its certificate chain is not valid${issuer}`,
    remedy: 'Issue a new certificate for the API server: kubeadm certs renew apiserver',
  };
}

/** The leaf, the other certificates that the server sent, and the CAs of the kubeconfig that may have signed the last one. */
function chainOf({ access, certificate }: FailedVerification): X509Certificate[] {
  if (certificate === undefined) return [];
  const sent = servedChain(certificate);
  const last = sent.at(-1);
  return [...sent, ...authoritiesOf(access).filter(({ subject }) => subject === last?.issuer)];
}

/** The certificate and those that the server sent after it. */
export function servedChain(certificate: X509Certificate): X509Certificate[] {
  const sent = [certificate];
  for (const { issuerCertificate } of sent) {
    if (issuerCertificate !== undefined && sent.length < longestChain) sent.push(issuerCertificate);
  }
  return sent;
}

const longestChain = 8;

function authoritiesOf({ cluster }: ClusterAccess): X509Certificate[] {
  return parsePem(cluster.certificateAuthority?.pem ?? new Uint8Array()).flatMap(({ der }) => {
    try {
      return [new X509Certificate(der)];
    } catch {
      return [];
    }
  });
}

function startOf({ validFromDate }: X509Certificate): Instant {
  return validFromDate.getTime();
}

function endOf({ validToDate }: X509Certificate): Instant {
  return validToDate.getTime();
}

/** A subject or an issuer in one line. OpenSSL writes each attribute on its own line. */
export function nameOf(name: string): string {
  return printable(name.replaceAll('\n', ', '), 200);
}
