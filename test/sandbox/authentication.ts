import { X509Certificate } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { TLSSocket } from 'node:tls';
import type { Instant } from '../../src/core/instant.ts';
import { parseCertificate } from '../../src/core/x509.ts';
import type { User } from './authorization.ts';
import { anonymous } from './authorization.ts';
import { impersonated } from './impersonation.ts';
import { StatusError } from './status-error.ts';
import type { BootstrapToken } from './token-secret.ts';
import { isExpired } from './token-secret.ts';

const bootstrapTokenForm = /^([a-z0-9]{6})\.([a-z0-9]{16})$/;

/**
 * The user of a bootstrap token, or undefined if it does not have the form
 * `abcdef.0123456789abcdef`.
 */
export function bootstrapUser(token: string): User | undefined {
  const id = bootstrapTokenForm.exec(token)?.[1];
  if (id === undefined) return undefined;
  return {
    username: `system:bootstrap:${id}`,
    groups: ['system:bootstrappers', 'system:authenticated'],
  };
}

export interface AuthenticatorOptions {
  readonly caPem: string;
  readonly now: () => Instant;
  readonly bootstrap: BootstrapToken;
}

/**
 * Authenticates requests. It verifies the client certificate at each request, not only
 * at the handshake, because a connection must not outlive its certificate.
 */
export class Authenticator {
  readonly #ca: X509Certificate;
  readonly #options: AuthenticatorOptions;

  constructor(options: AuthenticatorOptions) {
    this.#ca = new X509Certificate(options.caPem);
    this.#options = options;
  }

  /**
   * @throws StatusError Unauthorized for invalid credentials, Forbidden for a forbidden
   * impersonation
   */
  async authenticate(request: IncomingMessage): Promise<User> {
    const certificate = peerCertificate(request);
    const authorization = request.headers.authorization;
    if (certificate === undefined && authorization === undefined) {
      return impersonated(anonymous, request.headers);
    }
    const user = (await this.#byCertificate(certificate)) ?? this.#byToken(authorization);
    if (user === undefined) throw new StatusError('Unauthorized', 'Unauthorized');
    return impersonated(user, request.headers);
  }

  async #byCertificate(certificate: X509Certificate | undefined): Promise<User | undefined> {
    if (certificate === undefined || !certificate.checkIssued(this.#ca)) return undefined;
    if (!certificate.verify(this.#ca.publicKey)) return undefined;
    const { facts } = await parseCertificate(new Uint8Array(certificate.raw));
    const now = this.#options.now();
    const valid = facts.notBefore <= now && now <= facts.notAfter;
    if (!valid || !facts.usages.includes('client auth')) return undefined;
    if (facts.subject.commonName === '') return undefined;
    return {
      username: facts.subject.commonName,
      groups: [...facts.subject.organizations, 'system:authenticated'],
    };
  }

  #byToken(authorization: string | undefined): User | undefined {
    const token = /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1];
    const { bootstrap, now } = this.#options;
    if (token !== bootstrap.token || isExpired(bootstrap, now())) return undefined;
    return bootstrapUser(token);
  }
}

function peerCertificate(request: IncomingMessage): X509Certificate | undefined {
  return request.socket instanceof TLSSocket ? request.socket.getPeerX509Certificate() : undefined;
}
