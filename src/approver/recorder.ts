import type * as v from 'valibot';
import type { ApproverPolicy } from '../core/approver-policy.ts';
import type { Failure } from '../core/errors.ts';
import { hasCode, toError, toFailure } from '../core/errors.ts';
import type { FollowEnvironment } from '../kube/follow.ts';
import type { Decision } from './decision.ts';
import type { DecisionBasis, RecordedDecision } from './decision-record.ts';
import { recordDecision } from './decision-record.ts';
import type { FreshNode } from './facts.ts';
import { nodeSnapshotSchema } from './node-snapshot.ts';
import { RateLimit } from './rate-limit.ts';
import { Refusals } from './refusals.ts';
import { RequestGate } from './request-gate.ts';
import type { WatchedCsr } from './watched-csr.ts';
import { csrCollection, nodeOf, watchedCsrSchema } from './watched-csr.ts';

export type FinalDecision = Decision & { readonly outcome: 'approve' | 'deny' };

export type RecordResult =
  /** `csr`: the stored version, after a hold. */
  | { readonly kind: 'recorded'; readonly csr: WatchedCsr | undefined }
  /** Something has changed since the decision, so nothing was sent. */
  | { readonly kind: 'outdated' }
  /** The API server refused the decision because the CSR has changed, or would become invalid. */
  | { readonly kind: 'refused'; readonly failure: Failure }
  | { readonly kind: 'gone' }
  | FailedRequest;

interface FailedRequest {
  readonly kind: 'failed';
  readonly failure: Failure;
  /** The API server may have stored the decision. */
  readonly isUnknown: boolean;
}

export interface RecordInput {
  readonly csr: WatchedCsr;
  readonly decision: RecordedDecision;
  readonly basis: DecisionBasis;
  readonly mode: ApproverPolicy['mode'];
  /** Asked right before the request, because the limits may have taken a while. */
  readonly isCurrent: () => boolean;
}

export interface RecorderOptions {
  readonly environment: FollowEnvironment;
  /** 0 is no limit. */
  readonly maxDecisionsPerSecond: number;
  /** Called for each failure that is not an answer about the object. */
  readonly onFailure: (request: RequestKind, csr: WatchedCsr, failure: Failure) => void;
  /** Called for each request that the API server does not allow, also if it was therefore not sent. */
  readonly onRefused: (request: RequestKind, csr: WatchedCsr) => void;
  /** Called at the first answer to this kind of request after failures. */
  readonly onAnswer: (request: RequestKind) => void;
}

/** The requests about single objects, as the log names them. They need different permissions. */
export type RequestKind = 'decisions' | 'reading a CSR' | 'reading a Node';

/**
 * The requests about single CSRs and Nodes, with one rate limit for all workers and one gate for each
 * kind of request: if the API server answers reads but fails to store decisions, a successful read must
 * not open the gate for all decisions.
 */
export class Recorder {
  readonly #options: RecorderOptions;
  readonly #gates: Readonly<Record<RequestKind, RequestGate>>;
  readonly #refusals: Refusals<RequestKind>;
  readonly #limit: RateLimit;
  readonly #failing = new Set<RequestKind>();

  constructor(options: RecorderOptions) {
    const { environment, maxDecisionsPerSecond: perSecond } = options;
    const { clock, random } = environment;
    this.#options = options;
    this.#gates = {
      decisions: new RequestGate(clock, random),
      'reading a CSR': new RequestGate(clock, random),
      'reading a Node': new RequestGate(clock, random),
    };
    this.#refusals = new Refusals(clock, random);
    this.#limit = new RateLimit({ clock, perSecond, burst: 2 * perSecond });
  }

  /** @throws AgentError ABORTED */
  async record(input: RecordInput, signal: AbortSignal): Promise<RecordResult> {
    const kind = 'decisions';
    const { csr, isCurrent } = input;
    const refused = await this.#enter(kind, csr, signal);
    if (refused !== undefined) return refused;
    if (!isCurrent()) {
      this.#gates[kind].unused();
      this.#refusals.unused(kind);
      return { kind: 'outdated' };
    }
    try {
      const stored = await recordDecision(this.#client, input, signal);
      this.#answered(kind);
      return { kind: 'recorded', csr: stored };
    } catch (error) {
      if (signal.aborted) throw error;
      return this.#resultOf(error, kind, csr);
    }
  }

  /** Undefined after a 404. @throws AgentError as KubeClient.request */
  async readCsr(csr: WatchedCsr, signal: AbortSignal): Promise<WatchedCsr | undefined> {
    const path = `${csrCollection}/${encodeURIComponent(csr.name)}`;
    return this.#read({ kind: 'reading a CSR', csr, path, schema: watchedCsrSchema }, signal);
  }

  /** The Node of the requestor. @throws AgentError as KubeClient.request */
  async readNode(csr: WatchedCsr, signal: AbortSignal): Promise<FreshNode> {
    const path = `/api/v1/nodes/${encodeURIComponent(nodeOf(csr) ?? '')}`;
    const target = { kind: 'reading a Node', csr, path, schema: nodeSnapshotSchema } as const;
    return { node: await this.#read(target, signal) };
  }

  async #read<T>(
    { kind, csr, path, schema }: ReadTarget<T>,
    signal: AbortSignal,
  ): Promise<T | undefined> {
    const refused = await this.#enter(kind, csr, signal);
    if (refused !== undefined) throw toError(refused.failure);
    try {
      const found = await this.#client.request({ verb: 'get', path, signal }, schema);
      this.#answered(kind);
      return found;
    } catch (error) {
      if (signal.aborted) throw error;
      const result = this.#resultOf(error, kind, csr);
      if (result.kind === 'gone') return undefined;
      throw result.kind === 'failed' ? toError(result.failure) : error;
    }
  }

  /** Waits until a request may be sent. Returns a result if the API server does not allow this kind. */
  async #enter(
    request: RequestKind,
    csr: WatchedCsr,
    signal: AbortSignal,
  ): Promise<FailedRequest | undefined> {
    const refused = this.#refusalOf(request, csr);
    if (refused !== undefined) return refused;
    if (request === 'decisions') await this.#limit.take(signal);
    await this.#gates[request].enter(signal);
    const refusedSince = this.#refusalOf(request, csr);
    if (refusedSince === undefined) this.#refusals.enter(request);
    else this.#gates[request].unused();
    return refusedSince;
  }

  #refusalOf(request: RequestKind, csr: WatchedCsr): FailedRequest | undefined {
    const failure = this.#refusals.failureOf(request);
    if (failure === undefined) return undefined;
    this.#options.onRefused(request, csr);
    return { kind: 'failed', failure, isUnknown: false };
  }

  get #client(): ReturnType<FollowEnvironment['client']> {
    return this.#options.environment.client();
  }

  #resultOf(error: unknown, request: RequestKind, csr: WatchedCsr): RecordResult {
    const failure = toFailure(error);
    if (hasCode(error, 'API_NOT_FOUND', 'API_CONFLICT', 'API_BAD_REQUEST')) {
      this.#answered(request);
      return failure.code === 'API_NOT_FOUND' ? { kind: 'gone' } : { kind: 'refused', failure };
    }
    this.#failing.add(request);
    this.#options.onFailure(request, csr, failure);
    if (failure.code === 'API_FORBIDDEN') {
      this.#gates[request].succeeded();
      this.#options.onRefused(request, csr);
      const refused = this.#refusals.refused(request, failure);
      return { kind: 'failed', failure: refused, isUnknown: false };
    }
    this.#gates[request].failed(failure.retryAfterMs ?? 0);
    return { kind: 'failed', failure, isUnknown: failure.code !== 'API_THROTTLED' };
  }

  #answered(request: RequestKind): void {
    this.#gates[request].succeeded();
    this.#refusals.allowed(request);
    if (this.#gates[request].isOpen && this.#failing.delete(request))
      this.#options.onAnswer(request);
  }
}

interface ReadTarget<T> {
  readonly kind: RequestKind;
  readonly csr: WatchedCsr;
  readonly path: string;
  readonly schema: v.GenericSchema<unknown, T>;
}
