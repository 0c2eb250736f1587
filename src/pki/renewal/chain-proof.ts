import type { KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { duplexPair } from 'node:stream';
import type { SecureContextOptions, TLSSocket } from 'node:tls';
import { connect, createServer } from 'node:tls';
import { AgentError, describeError } from '../../core/errors.ts';
import { encodeCertificates } from '../../core/pem.ts';
import type { Secret } from '../../core/secret.ts';
import { second } from '../../core/instant.ts';
import type { AuthorityFile } from './authority.ts';
import type { ChainCertificate } from './certificate-chain.ts';
import { exportKey } from './key-file.ts';

/** A certificate for a key, with its intermediate CAs. */
export interface ChainToProve {
  readonly certificate: ChainCertificate;
  readonly chain: readonly ChainCertificate[];
  readonly key: KeyObject;
  readonly authority: AuthorityFile;
  /** The file of the certificate, for messages. */
  readonly file: string;
}

const timeout = 10 * second;

/**
 * Uses the certificate in a TLS handshake within this process, as server and as client. OpenSSL
 * then verifies everything that can make a chain invalid, such as name constraints, weak
 * signatures, and critical extensions of an intermediate CA.
 * @throws AgentError CERT_UNTRUSTED
 */
export async function requireAccepted(proof: ChainToProve): Promise<void> {
  const { certificate, file, authority } = proof;
  const { usages } = certificate.facts;
  const { asServer, asClient } = await handshake(proof);
  const fault =
    (usages.includes('server auth') ? asServer : undefined) ??
    (usages.includes('client auth') ? asClient : undefined);
  if (fault === undefined) return;
  throw new AgentError(
    'CERT_UNTRUSTED',
    `OpenSSL rejects ${file} with the CA ${authority.path}: ${fault}`,
    {
      remedy: `Find the reason: openssl verify -partial_chain -CAfile ${authority.path} -untrusted ${file} ${file}`,
    },
  );
}

/** Why the other side rejects the certificate. */
interface Faults {
  readonly asServer: string | undefined;
  readonly asClient: string | undefined;
}

async function handshake(proof: ChainToProve): Promise<Faults> {
  using pem = exportKey(proof.key);
  const settings = { ...settingsFor(proof, pem), rejectUnauthorized: false };
  const server = createServer({ ...settings, requestCert: true });
  const [near, far] = duplexPair();
  const failed = new AbortController();
  const fail = (error: Error): void => failed.abort(error);
  const signal = AbortSignal.any([failed.signal, AbortSignal.timeout(timeout)]);
  const accepted = once(server.once('tlsClientError', fail), 'secureConnection', { signal });
  server.emit('connection', far);
  // The names are those of the existing certificate.
  const client = connect({ ...settings, socket: near, checkServerIdentity: () => undefined });
  const connected = once(client.on('error', fail), 'secureConnect', { signal });
  try {
    const [[socket]] = await Promise.all([accepted, connected]);
    return { asServer: faultOf(client), asClient: faultOf(socket as TLSSocket) };
  } catch (error) {
    const cause: unknown = signal.aborted ? signal.reason : error;
    const fault = `the TLS handshake fails: ${describeError(cause)}`;
    return { asServer: fault, asClient: fault };
  } finally {
    client.destroy();
    far.destroy();
  }
}

function settingsFor(
  { certificate, chain, authority }: ChainToProve,
  pem: Secret,
): SecureContextOptions {
  const { buffer, byteOffset, byteLength } = pem.expose();
  return {
    cert: Buffer.from(encodeCertificates([certificate, ...chain])),
    key: Buffer.from(buffer, byteOffset, byteLength),
    ca: Buffer.from(authority.pem),
    // As in Go, each certificate of the CA file is trusted, even an intermediate CA.
    allowPartialTrustChain: true,
  };
}

/** The code of OpenSSL. */
function faultOf({ authorized, authorizationError }: TLSSocket): string | undefined {
  if (authorized || authorizationError === undefined) return undefined;
  return String(authorizationError);
}
