import type { CsrReference } from '../core/enroller-protocol.ts';
import type { Failure } from '../core/errors.ts';
import { AgentError } from '../core/errors.ts';
import type { Usage } from '../core/certificate.ts';
import type { CsrObject, CsrStatus, CsrVerdict } from './csr-object.ts';
import { csrSchema, verdictOf } from './csr-object.ts';
import type { FollowEnvironment } from './follow.ts';
import { follow } from './follow.ts';

export interface CsrInput {
  /** Deterministic, so that "already exists" can mean "mine". */
  readonly name: string;
  /** PKCS #10 in PEM. */
  readonly request: Uint8Array;
  readonly signerName: string;
  readonly usages: readonly Usage[];
  /** At least 600, or the API server refuses. */
  readonly expirationSeconds?: number;
}

/** A request that stands on the API server, as it was when last seen. */
export interface StandingCsr extends CsrReference {
  readonly resourceVersion: string;
  readonly status: CsrStatus;
}

export type CsrOutcome =
  | Exclude<CsrVerdict, { kind: 'pending' }>
  | { readonly kind: 'deleted' }
  /** Another object has the name now: ours was deleted, and its certificate is not for us. */
  | { readonly kind: 'replaced' };

export interface WaitOptions {
  readonly csr: StandingCsr;
  /** Called once, when the approval is first seen. */
  readonly onApproved?: () => void;
  /** Called for each failure on the way; none of them ends the wait. */
  readonly onTrouble?: (failure: Failure) => void;
  /** Called at the first answer after failures. */
  readonly onCalm?: () => void;
  readonly signal: AbortSignal;
}

const collection = '/apis/certificates.k8s.io/v1/certificatesigningrequests';

/** Certificate signing requests: made with one POST, followed with one watch. */
export class CsrClient {
  readonly #environment: FollowEnvironment;

  constructor(environment: FollowEnvironment) {
    this.#environment = environment;
  }

  /**
   * Creates the request, or finds it when an earlier answer was lost on the way.
   * @throws AgentError API_CONFLICT when the name belongs to another request, else as KubeClient.request
   */
  async create(input: CsrInput, signal: AbortSignal): Promise<StandingCsr> {
    const client = this.#environment.client();
    try {
      return standing(
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
      if (isSame(found, input)) return standing(found);
      throw new AgentError(
        'API_CONFLICT',
        `certificate signing request ${input.name} exists with other content (signer ${found.spec.signerName}, uid ${found.uid})`,
        { cause: error, remedy: `kubectl delete csr ${input.name}` },
      );
    }
  }

  /**
   * Waits until the request is decided, however long that takes and whatever the
   * network does meanwhile: only the signal ends it early.
   * @throws AgentError ABORTED
   */
  async waitForDecision(options: WaitOptions): Promise<CsrOutcome> {
    const { csr, onTrouble, onCalm, signal } = options;
    const look = observer(options);
    const known = look(csr);
    if (known !== undefined) return known;
    return follow(this.#environment, {
      target: {
        path: collection,
        name: csr.name,
        schema: csrSchema,
        resourceVersion: csr.resourceVersion,
      },
      look,
      onTrouble,
      onCalm,
      signal,
    });
  }
}

/** Judges each state of the object; undefined while there is no decision. */
function observer({
  csr,
  onApproved,
}: WaitOptions): (found: StandingCsr | undefined) => CsrOutcome | undefined {
  let approved = false;
  return (found) => {
    if (found === undefined) return { kind: 'deleted' };
    if (found.uid !== csr.uid) return { kind: 'replaced' };
    const verdict = verdictOf(found.status);
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

/** The key that signed the request is ours alone, so equal bytes mean that we sent them. */
function isSame({ spec }: CsrObject, input: CsrInput): boolean {
  return spec.signerName === input.signerName && Buffer.compare(spec.request, input.request) === 0;
}

function standing({ name, uid, resourceVersion, createdAt, status }: CsrObject): StandingCsr {
  return { name, uid, resourceVersion, createdAt, status };
}
