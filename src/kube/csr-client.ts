import type { CsrHold, CsrReference } from '../core/enroller-protocol.ts';
import type { Failure } from '../core/errors.ts';
import { AgentError } from '../core/errors.ts';
import type { Usage } from '../core/certificate.ts';
import type { ApproverNote } from './approver-note.ts';
import type { CsrObject, CsrStatus, CsrVerdict } from './csr-object.ts';
import { csrSchema, verdictOf } from './csr-object.ts';
import type { FollowEnvironment } from './follow.ts';
import { follow } from './follow.ts';

export interface CsrInput {
  /** Equal requests have equal names, so "already exists" can mean "created by us". */
  readonly name: string;
  /** PKCS #10 in PEM. */
  readonly request: Uint8Array;
  readonly signerName: string;
  readonly usages: readonly Usage[];
  /** The API server rejects values below 600. */
  readonly expirationSeconds?: number;
}

/** A CSR on the API server, in the state last seen. */
export interface CreatedCsr extends CsrReference {
  readonly resourceVersion: string;
  readonly status: CsrStatus;
  readonly note?: ApproverNote;
}

export type CsrOutcome =
  | Exclude<CsrVerdict, { kind: 'pending' }>
  | { readonly kind: 'deleted' }
  /** The CSR was deleted, and another object has its name. */
  | { readonly kind: 'replaced' };

export interface WaitOptions {
  readonly csr: CreatedCsr;
  /** Called once, when the CSR is approved. */
  readonly onApproved?: () => void;
  /** Called when nodecertd approver says why the CSR waits, and when the reason changes. */
  readonly onHeld?: (hold: CsrHold) => void;
  /** Called for each failed request; the wait continues. */
  readonly onRetry?: (failure: Failure) => void;
  /** Called at the first response after failures. */
  readonly onRecovered?: () => void;
  readonly signal: AbortSignal;
}

const collection = '/apis/certificates.k8s.io/v1/certificatesigningrequests';

/** Creates a CSR with one POST and waits for its outcome with one watch. */
export class CsrClient {
  readonly #environment: FollowEnvironment;

  constructor(environment: FollowEnvironment) {
    this.#environment = environment;
  }

  /**
   * Creates the CSR, or finds it if an earlier POST created it and the response got lost.
   * @throws AgentError API_CONFLICT when a different CSR has this name, else as KubeClient.request
   */
  async create(input: CsrInput, signal: AbortSignal): Promise<CreatedCsr> {
    const client = this.#environment.client();
    try {
      return created(
        await client.request(
          { verb: 'create', path: collection, body: objectOf(input), signal },
          csrSchema,
        ),
      );
    } catch (error) {
      if (!(error instanceof AgentError) || error.code !== 'API_CONFLICT') throw error;
      const found = await client.request(
        { verb: 'get', path: `${collection}/${encodeURIComponent(input.name)}`, signal },
        csrSchema,
      );
      if (isSame(found, input)) return created(found);
      throw new AgentError(
        'API_CONFLICT',
        `CSR ${input.name} already exists with different content (signer ${found.spec.signerName}, uid ${found.uid})`,
        { cause: error, remedy: `Delete the CSR: kubectl delete csr ${input.name}` },
      );
    }
  }

  /**
   * Waits until the CSR is issued, denied, failed, deleted or replaced, through outages of any
   * length. Only the signal ends the wait early.
   * @throws AgentError ABORTED
   */
  async waitForOutcome(options: WaitOptions): Promise<CsrOutcome> {
    const { csr, onRetry, onRecovered, signal } = options;
    const observe = observer(options);
    const known = observe(csr);
    if (known !== undefined) return known;
    return follow(this.#environment, {
      target: {
        path: collection,
        name: csr.name,
        schema: csrSchema,
        resourceVersion: csr.resourceVersion,
      },
      observe,
      onRetry,
      onRecovered,
      signal,
    });
  }
}

/** Returns the outcome for a state of the CSR; undefined while it is pending. */
function observer({
  csr,
  onApproved,
  onHeld,
}: WaitOptions): (found: CreatedCsr | undefined) => CsrOutcome | undefined {
  let approved = false;
  let heldFor: string | undefined;
  return (found) => {
    if (found === undefined) return { kind: 'deleted' };
    if (found.uid !== csr.uid) return { kind: 'replaced' };
    const verdict = verdictOf(found.status, found.note);
    if (verdict.kind === 'pending' && found.note?.outcome === 'hold') {
      const { outcome: _, ...hold } = found.note;
      if (heldFor !== hold.reason) onHeld?.(hold);
      heldFor = hold.reason;
    }
    if (
      !approved &&
      (verdict.kind === 'issued' || (verdict.kind === 'pending' && verdict.approved))
    ) {
      approved = true;
      onApproved?.();
    }
    return verdict.kind === 'pending' ? undefined : verdict;
  };
}

function objectOf(input: CsrInput): unknown {
  return {
    apiVersion: 'certificates.k8s.io/v1',
    kind: 'CertificateSigningRequest',
    metadata: { name: input.name },
    spec: {
      request: Buffer.from(input.request).toString('base64'),
      signerName: input.signerName,
      usages: input.usages,
      ...(input.expirationSeconds !== undefined && { expirationSeconds: input.expirationSeconds }),
    },
  };
}

/** Only we have the key that signed the request, so equal bytes mean that we sent it. */
function isSame({ spec }: CsrObject, input: CsrInput): boolean {
  return spec.signerName === input.signerName && Buffer.compare(spec.request, input.request) === 0;
}

function created({ name, uid, resourceVersion, createdAt, status, note }: CsrObject): CreatedCsr {
  return { name, uid, resourceVersion, createdAt, status, ...(note && { note }) };
}
