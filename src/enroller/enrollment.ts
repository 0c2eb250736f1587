import type { PairFacts } from '../core/certificate.ts';
import { deletedCsrDelay } from '../core/timing.ts';
import type { CertificateTemplate } from '../core/certificate-spec.ts';
import { createCsr } from '../core/csr.ts';
import type { CsrReference, EnrollmentProgress, Finding } from '../core/enroller-protocol.ts';
import { AgentError, hasCode } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { encodePem } from '../core/pem.ts';
import type { Secret } from '../core/secret.ts';
import { CsrClient } from '../kube/csr-client.ts';
import type { CreatedCsr } from '../kube/csr-client.ts';
import type { Clock } from '../sys/clock.ts';
import type { ApiAccess } from './api-access.ts';
import { csrName } from './csr-name.ts';
import type { IssuedChain } from './issued-certificate.ts';
import { checkIssued } from './issued-certificate.ts';
import type { PrivateKey } from './private-key.ts';
import { generatePrivateKey, pairPem } from './private-key.ts';

/** Stores issued pairs; PairStore implements it. */
export interface PairSink {
  write(pem: Secret): Promise<StoredPair>;
}

export interface StoredPair {
  readonly pair: PairFacts;
  readonly findings: readonly Finding[];
}

export interface EnrollmentOptions {
  readonly name: string;
  readonly template: CertificateTemplate;
  readonly access: ApiAccess;
  readonly store: PairSink;
  /** Called before the CSR is created. Throws if the certificate could not be stored. */
  readonly prepare?: (signal: AbortSignal) => Promise<void>;
  /** Called after the pair is stored. The enrollment ends when the promise resolves. */
  readonly onStored: () => Promise<void>;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly report: (step: EnrollmentProgress) => void;
  /** Tests the issued chain against the API server. @throws AgentError CERT_UNTRUSTED, API_* */
  readonly verifyTrust: (chain: IssuedChain, key: PrivateKey, signal: AbortSignal) => Promise<void>;
}

/**
 * Obtains one certificate, from a new key to a stored pair. Each step keeps its result, so that
 * `run` after a failure continues where the previous `run` stopped, with the same key and CSR.
 */
export class Enrollment implements Disposable {
  readonly #options: EnrollmentOptions;
  #key: PrivateKey | undefined;
  /** The bytes that were sent. A new signature has other bytes, and only equal bytes prove that a CSR is ours. */
  #request: Uint8Array | undefined;
  #csr: CreatedCsr | undefined;
  /** The POST was sent, and no response shows that the API server rejected it. */
  #maybeCreated = false;
  #issued: Uint8Array | undefined;
  #stored: StoredPair | undefined;

  constructor(options: EnrollmentOptions) {
    this.#options = options;
  }

  get template(): CertificateTemplate {
    return this.#options.template;
  }

  /** True if there is a CSR or an issued certificate that a new attempt can use. */
  get resumable(): boolean {
    return this.#csr !== undefined || this.#maybeCreated;
  }

  /** @throws AgentError; `resumable` shows whether another `run` can continue */
  async run(signal: AbortSignal): Promise<StoredPair> {
    try {
      this.#stored ??= await this.#obtain(signal);
      await this.#options.onStored();
      return this.#stored;
    } finally {
      // The signal may fire while the key is being generated, so this wipes the key.
      if (signal.aborted) this[Symbol.dispose]();
    }
  }

  async #obtain(signal: AbortSignal): Promise<StoredPair> {
    const { access, store } = this.#options;
    // An issued certificate needs no new API client.
    if (this.#issued === undefined) await access.ready();
    const key = (this.#key ??= await generatePrivateKey(this.template.key));
    if (this.#csr === undefined) await this.#options.prepare?.(signal);
    const csr = (this.#csr ??= await this.#create(key, signal));
    this.#issued ??= await this.#wait(csr, signal);
    const chain = await this.#check(this.#issued, key, signal);
    throwIfAborted(signal, this.#options.name);
    using pem = pairPem(chain.pem, key);
    const stored = await store.write(pem);
    this[Symbol.dispose]();
    return stored;
  }

  [Symbol.dispose](): void {
    this.#key?.[Symbol.dispose]();
    this.#key = undefined;
  }

  async #create(key: PrivateKey, signal: AbortSignal): Promise<CreatedCsr> {
    const { template, report } = this.#options;
    this.#request ??= encodePem('CERTIFICATE REQUEST', await createCsr(template, key.pair));
    const { signerName, usages, expirationSeconds } = template;
    const earlier = this.#maybeCreated;
    this.#maybeCreated = true;
    try {
      const csr = await this.#client.create(
        {
          name: csrName(key.publicKey, template),
          request: this.#request,
          signerName,
          usages,
          ...(expirationSeconds !== undefined && { expirationSeconds }),
        },
        signal,
      );
      report({ type: 'requested', csr: reference(csr) });
      return csr;
    } catch (error) {
      // An earlier attempt may have created the CSR although the API server rejected this attempt.
      const rejected = hasCode(error, ...rejections);
      this.#maybeCreated = !rejected || (earlier && error.code !== 'API_CONFLICT');
      throw error;
    }
  }

  async #wait(csr: CreatedCsr, signal: AbortSignal): Promise<Uint8Array> {
    const { report, access, clock } = this.#options;
    const outcome = await this.#client.waitForOutcome({
      csr,
      signal,
      onApproved: () => report({ type: 'approved', csr: reference(csr) }),
      onHeld: (hold) => report({ type: 'requested', csr: { ...reference(csr), hold } }),
      onRetry: (failure) => {
        report({ type: 'retrying', failure });
        if (failure.code !== 'API_UNAUTHORIZED') return;
        access.failed(failure);
        // The files may contain a new token, which the next request uses.
        void access.refresh().catch(() => undefined);
      },
      onRecovered: () => report({ type: 'recovered' }),
    });
    if (outcome.kind === 'issued') {
      report({ type: 'issued', csr: reference(csr) });
      return outcome.pem;
    }
    this.#forgetRequest();
    throw outcomeError(csr, outcome, clock.now());
  }

  async #check(pem: Uint8Array, key: PrivateKey, signal: AbortSignal): Promise<IssuedChain> {
    const { template, clock, verifyTrust } = this.#options;
    try {
      const { publicKey } = key;
      const chain = await checkIssued({ pem, template, publicKey, now: clock.now() });
      await verifyTrust(chain, key, signal);
      return chain;
    } catch (error) {
      // After other errors (clock, network), the same certificate may pass a later check.
      if (hasCode(error, ...finalErrors)) this.#forgetRequest();
      throw error;
    }
  }

  /** After this, the next attempt begins with a new key. */
  #forgetRequest(): void {
    this[Symbol.dispose]();
    this.#request = undefined;
    this.#csr = undefined;
    this.#issued = undefined;
    this.#maybeCreated = false;
  }

  get #client(): CsrClient {
    const { access, clock, random } = this.#options;
    return new CsrClient({ client: () => access.current(), clock, random });
  }
}

/** Errors that prove that the API server created no CSR. */
const rejections = [
  'API_BAD_REQUEST',
  'API_UNAUTHORIZED',
  'API_ANONYMOUS',
  'API_FORBIDDEN',
  'API_NOT_FOUND',
  'API_CONFLICT',
  'API_UNTRUSTED',
] as const;

/** Errors after which an issued certificate can never be used. */
const finalErrors = [
  'CERT_MALFORMED',
  'CERT_KEY_MISMATCH',
  'CERT_SUBJECT_MISMATCH',
  'CERT_SAN_MISMATCH',
  'CERT_USAGE_MISMATCH',
  'CERT_EXPIRED',
  'CERT_UNTRUSTED',
] as const;

function reference({ name, uid, createdAt }: CreatedCsr): CsrReference {
  return { name, uid, createdAt };
}

function outcomeError(
  { name: csr, createdAt }: CsrReference,
  outcome: Exclude<Awaited<ReturnType<CsrClient['waitForOutcome']>>, { kind: 'issued' }>,
  now: Instant,
): AgentError {
  switch (outcome.kind) {
    case 'denied':
      return new AgentError('CSR_DENIED', `CSR ${csr} was denied: ${explanation(outcome)}`, {
        remedy: `${outcome.remedy ?? `Ask the cluster administrator why: kubectl describe csr ${csr}`}; then request a certificate again: nodecertd renew (the automatic retry is hours later)`,
      });
    case 'failed':
      return new AgentError('CSR_FAILED', `CSR ${csr} failed: ${explanation(outcome)}`, {
        remedy: `Correct the problem that the signer reports: kubectl describe csr ${csr}`,
      });
    case 'deleted':
    case 'replaced':
      return new AgentError('CSR_DELETED', `CSR ${csr} was ${outcome.kind} while it was pending`, {
        remedy:
          'Check that an approver runs for this signer: a pending CSR is deleted after 24 hours',
        retryAfterMs: deletedCsrDelay(now - createdAt),
      });
    default:
      return outcome satisfies never;
  }
}

function explanation({
  reason,
  message,
}: {
  readonly reason: string;
  readonly message: string;
}): string {
  return [reason, message].filter((part) => part !== '').join(': ') || 'no reason given';
}

function throwIfAborted(signal: AbortSignal, name: string): void {
  if (signal.aborted) throw new AgentError('ABORTED', `the enrollment of ${name} was aborted`);
}
