import { usages as certificateUsages } from '../../src/core/certificate.ts';
import type { CsrFacts } from './csr-policy.ts';
import {
  approverVerdict,
  certificateValidity,
  ownServingVerdict,
  signerVerdict,
} from './csr-policy.ts';
import type { CertificateRequest } from '../../src/core/x509.ts';
import { x509 } from '../../src/core/x509.ts';
import type { Clock } from '../../src/sys/clock.ts';
import type { Condition, CsrObject } from './api-object.ts';
import { hasCondition, isApproved } from './api-object.ts';
import type { Approvals } from './authorization.ts';
import type { CertificateAuthority } from './ca.ts';
import { csrFacts } from './csr-registry.ts';
import { requestOf } from './csr-validation.ts';
import type { Registry } from './registry.ts';
import { getObject, updateObject } from './registry.ts';

export interface ControllerOptions {
  readonly clock: Clock;
  readonly ca: CertificateAuthority;
  /** Signs for custom signers, whose certificates must not authenticate to this API. */
  readonly customCa: CertificateAuthority;
  readonly csrs: Registry<CsrObject>;
  readonly signingSeconds: number;
  /** Additional signers, which sign every approved CSR unchanged. */
  readonly customSigners: readonly string[];
  readonly onInternalError: (error: unknown) => void;
}

export interface Switches {
  /** Approves client certificates of kubelets, as upstream does. */
  readonly approving: boolean;
  /** Approves a node's own serving certificates, which upstream never does. */
  readonly approvingServing: boolean;
  readonly signing: boolean;
  /** The rights for which access reviews return yes. */
  readonly approvals: Approvals;
}

/**
 * Approver and signer. They process each change of a CSR in order, in a later step than
 * the change itself, so that watchers see both events in order.
 */
export class CertificateControllers {
  readonly #options: ControllerOptions;
  readonly #stopListening: () => void;
  #switches: Switches;
  #work: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: ControllerOptions, switches: Switches) {
    this.#options = options;
    this.#switches = switches;
    this.#stopListening = options.csrs.store.listen(({ type, object }) => {
      if (type !== 'DELETED') this.#enqueue(object.metadata.name);
    });
  }

  /** Turns controllers on or off. One that is turned on processes the pending CSRs. */
  set(switches: Partial<Switches>): void {
    this.#switches = { ...this.#switches, ...switches };
    for (const { metadata } of this.#options.csrs.store.list()) this.#enqueue(metadata.name);
  }

  get approvals(): Approvals {
    return this.#switches.approvals;
  }

  /** Settles when the current work is done. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#stopListening();
    await this.#work;
  }

  #enqueue(name: string): void {
    this.#work = this.#after(this.#work, name);
  }

  async #after(earlier: Promise<void>, name: string): Promise<void> {
    await earlier;
    if (this.#closed) return;
    try {
      await this.#reconcile(name);
    } catch (error) {
      this.#options.onInternalError(error);
    }
  }

  async #reconcile(name: string): Promise<void> {
    const csr = this.#options.csrs.store.get(name);
    if (csr === undefined || csr.status.certificate !== undefined) return;
    const request = await requestOf(csr);
    const facts = csrFacts(csr, request);
    if (!hasCondition(csr, 'Approved') && !hasCondition(csr, 'Denied')) {
      this.#approve(csr, facts);
    } else if (this.#switches.signing && isApproved(csr) && !hasCondition(csr, 'Failed')) {
      await this.#issue(csr, facts, request);
    }
  }

  #approve(csr: CsrObject, facts: CsrFacts): void {
    const { approving, approvingServing, approvals } = this.#switches;
    const verdict = approverVerdict(facts);
    const client = approving && verdict.ok && approvals.has(verdict.permission);
    if (!client && !(approvingServing && ownServingVerdict(facts).ok)) return;
    this.#update(csr, 'approval', (conditions) => ({
      conditions: [
        ...conditions,
        {
          type: 'Approved',
          status: 'True',
          reason: 'AutoApproved',
          message: `Auto approving kubelet ${client ? 'client' : 'serving'} certificate.`,
        },
      ],
    }));
  }

  async #issue(csr: CsrObject, facts: CsrFacts, request: CertificateRequest): Promise<void> {
    const verdict = signerVerdict(facts);
    const builtIn = verdict.ok || verdict.reason !== 'signer-not-handled';
    if (!builtIn && !this.#options.customSigners.includes(facts.signerName)) return;
    if (builtIn && !verdict.ok) {
      this.#update(csr, 'status', (conditions) => ({
        conditions: [
          ...conditions,
          {
            type: 'Failed',
            status: 'True',
            reason: 'SignerValidationFailure',
            message: verdict.message,
          },
        ],
      }));
      return;
    }
    const { ca, customCa } = this.#options;
    const pem = await this.#sign(csr, request, builtIn ? ca : customCa);
    if (pem === undefined) return;
    const certificate = Buffer.from(pem, 'latin1').toString('base64');
    this.#update(csr, 'status', (conditions) => ({ conditions, certificate }));
  }

  /**
   * Returns the issued certificate, or undefined if the CA has expired; the CSR then
   * stays approved.
   */
  async #sign(
    csr: CsrObject,
    request: CertificateRequest,
    ca: CertificateAuthority,
  ): Promise<string | undefined> {
    const { clock, signingSeconds } = this.#options;
    const { expirationSeconds, usages } = csr.spec;
    const validity = certificateValidity({
      now: clock.now(),
      signingSeconds,
      ...(expirationSeconds !== undefined && { expirationSeconds }),
      caNotAfter: ca.notAfter,
    });
    if (!validity.ok) return undefined;
    const pkcs10 = new x509.Pkcs10CertificateRequest(request.der);
    return ca.sign({
      subject: pkcs10.subjectName,
      publicKey: pkcs10.publicKey,
      usages: certificateUsages.filter((usage) => usages.includes(usage)),
      altNames: signableAltNames(pkcs10),
      validity,
    });
  }

  /** Updates the CSR unless it has changed or was deleted. A change is processed in its turn. */
  #update(
    seen: CsrObject,
    subresource: 'approval' | 'status',
    status: (conditions: readonly Condition[]) => object,
  ): void {
    const { csrs } = this.#options;
    const { name, resourceVersion } = seen.metadata;
    if (csrs.store.get(name)?.metadata.resourceVersion !== resourceVersion) return;
    const body = { ...getObject(csrs, name), status: status(seen.status.conditions ?? []) };
    updateObject(csrs, { name, body, subresource });
  }
}

/** The four kinds of SANs that upstream copies. It drops others. */
function signableAltNames(request: x509.Pkcs10CertificateRequest): x509.GeneralName[] {
  return [...request.extensions]
    .filter((extension) => extension instanceof x509.SubjectAlternativeNameExtension)
    .flatMap((extension) => extension.names.items)
    .filter((name) => ['dns', 'ip', 'email', 'url'].includes(name.type));
}
