import type { ApproverPolicy } from '../core/approver-policy.ts';
import type { Failure } from '../core/errors.ts';
import { toFailure } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { hour, minute, second } from '../core/instant.ts';
import { holdDelay, recordingDelay } from '../core/timing.ts';
import { approverNote } from '../kube/approver-note.ts';
import type { FollowEnvironment } from '../kube/follow.ts';
import { ClusterView } from './cluster-view.ts';
import type { WatchedResource } from './cluster-watch.ts';
import { clusterWatches, watchedResources } from './cluster-watch.ts';
import { compareAge } from './csr-order.ts';
import type { Decision } from './decision.ts';
import type { DecisionBasis, RecordedDecision } from './decision-record.ts';
import { evaluate } from './evaluate.ts';
import type { FreshNode, Source } from './facts.ts';
import { FairQueue } from './fair-queue.ts';
import type { Term } from './leader-election.ts';
import type { NodeSnapshot } from './node-snapshot.ts';
import { PendingCsr, PendingCsrs } from './pending-csrs.ts';
import { policyDigest } from './policy-digest.ts';
import { RateLimit } from './rate-limit.ts';
import type { FinalDecision, RecordResult, RequestKind } from './recorder.ts';
import { Recorder } from './recorder.ts';
import { readRequest } from './request/read-request.ts';
import { Schedule } from './schedule.ts';
import { runTasks, unlessAborted } from './tasks.ts';
import { differsInVersionOnly } from './versions.ts';
import type { WatchedCsr } from './watched-csr.ts';
import { isPending, keyDigestOf, nodeOf } from './watched-csr.ts';

/** Receives what happens in a term, for metrics, logs and Events. */
export interface TermObserver {
  /** A decision was recorded, or in the mode observe accepted as a dry run. */
  decided(csr: WatchedCsr, decision: FinalDecision, ms: number): void;
  /** A CSR is held, or is held for a new reason. */
  held(csr: WatchedCsr, decision: Decision): void;
  /** The requestor is not a node. */
  ignored(csr: WatchedCsr, decision: Decision): void;
  /** The API server refused a decision, usually because another program changed the CSR first. */
  refused(csr: WatchedCsr, failure: Failure): void;
  /** The API server does not allow a kind of request. Called once until it allows this kind again. */
  forbidden(csr: WatchedCsr, failure: Failure): void;
  /** A watch or a request failed; the approver tries again. */
  retrying(what: string, failure: Failure): void;
  recovered(what: string): void;
}

export interface TermWorkOptions {
  readonly environment: FollowEnvironment;
  readonly policy: () => ApproverPolicy;
  readonly sources: () => readonly Source[];
  /** Resolves once each source has data or has failed. Until then nothing is decided. */
  readonly sourcesSettled: Promise<void>;
  /** The host in the URL of the API server, if it is a name. */
  readonly controlPlaneEndpoint: string | undefined;
  /** The time at the API server, because it is compared with creation times. */
  readonly serverNow: () => Instant;
  readonly observer: TermObserver;
  readonly term: Term;
}

/** What the status shows of a term. */
export interface TermStatus {
  readonly synced: ReadonlySet<WatchedResource>;
  readonly pending: ReadonlyMap<string, number>;
  readonly oldestPending: Instant | undefined;
  readonly queueDepth: number;
  /** Why resources cannot be read. */
  readonly unread: ReadonlyMap<WatchedResource, Failure>;
  /** The API server refuses a request that a pending CSR needs. */
  readonly forbidden: Failure | undefined;
}

/** The work of the leader in one term: watches the cluster, and approves or denies pending CSRs. */
export class TermWork {
  readonly #options: TermWorkOptions;
  readonly #view: ClusterView;
  readonly #pending = new PendingCsrs();
  readonly #queue = new FairQueue();
  readonly #retries: Schedule;
  readonly #recorder: Recorder;
  readonly #supersededLimit: RateLimit;
  readonly #explanationLimit: RateLimit;
  /** The UIDs of CSRs whose decision is recorded, although the watch may still show them as pending. */
  readonly #recorded = new Map<string, string>();
  readonly #synced = new Set<WatchedResource>();
  /** Resolved while every copy is complete. */
  #complete = Promise.withResolvers<void>();
  readonly #unread = new Map<WatchedResource, Failure>();
  readonly #forbidden = new Map<RequestKind, Failure>();
  /** Counts the changes that an evaluation may depend on. */
  #changes = 0;

  constructor(options: TermWorkOptions) {
    const { environment, policy, controlPlaneEndpoint } = options;
    const { clock } = environment;
    this.#options = options;
    this.#view = new ClusterView(controlPlaneEndpoint);
    this.#retries = new Schedule(clock);
    this.#supersededLimit = new RateLimit({ clock, perSecond: 5, burst: 5 });
    this.#explanationLimit = new RateLimit({ clock, perSecond: 1, burst: 25 });
    this.#recorder = new Recorder({
      environment,
      maxDecisionsPerSecond: policy().maxDecisionsPerSecond,
      onFailure: (request, csr, failure) => {
        this.#noteFailure(request, csr, failure);
      },
      onRefused: (request, csr) => {
        const pending = this.#pending.get(csr.name);
        if (pending !== undefined) pending.forbidden = request;
      },
      onAnswer: (request) => {
        this.#options.observer.recovered(request);
        if (this.#forbidden.delete(request)) this.#enqueueAll(this.#pending.withRefused(request));
      },
    });
  }

  /** Ends with the signal. @throws every error that is not a failure of the API server */
  async run(signal: AbortSignal): Promise<void> {
    const workers = Array.from({ length: workerCount }, () => (inner: AbortSignal) => {
      return this.#worker(inner);
    });
    await runTasks(signal, [
      ...this.#watches(),
      ...workers,
      (inner) =>
        this.#retries.run(inner, (name) => {
          this.#enqueue(name);
        }),
      (inner) => this.#forgetEarlierNodes(inner),
    ]);
  }

  /** Evaluates every pending CSR again, because the policy or a source has changed. */
  evaluateAll(): void {
    this.#changes += 1;
    for (const pending of this.#pending.all()) pending.answeredVersion = undefined;
    this.#enqueueAll(this.#pending.names());
  }

  /** Evaluates CSRs again, because a source answers something else about these Nodes. */
  sourceChanged(nodes: Iterable<string>): void {
    this.#changes += 1;
    for (const node of nodes) this.#enqueueAll(this.#pending.ofNode(node));
    this.#enqueueAll(this.#pending.withCode('SourceUnavailable'));
    // What a source says about one Node decides about the CSRs of another.
    this.#enqueueAll(this.#pending.withCode('AddressConflict'));
  }

  status(): TermStatus {
    const pending = new Map<string, number>();
    let oldestPending: Instant | undefined;
    const needed = new Set<RequestKind | undefined>();
    for (const { code = 'Queued', csr, forbidden } of this.#pending.all()) {
      needed.add(forbidden);
      pending.set(code, (pending.get(code) ?? 0) + 1);
      oldestPending = Math.min(oldestPending ?? Infinity, csr.createdAt);
    }
    const [forbidden] = [...this.#forbidden].flatMap(([request, failure]) =>
      needed.has(request) ? [failure] : [],
    );
    return {
      synced: this.#synced,
      unread: this.#unread,
      pending,
      oldestPending,
      queueDepth: this.#queue.size,
      forbidden,
    };
  }

  #watches(): ReturnType<typeof clusterWatches> {
    return clusterWatches({
      environment: this.#options.environment,
      view: this.#view,
      csrs: {
        names: () => this.#view.csrs.names(),
        set: (csr) => {
          this.#setCsr(csr);
        },
        delete: (name) => {
          this.#deleteCsr(name);
        },
      },
      nodes: {
        names: () => this.#view.nodes.names(),
        set: (node) => {
          this.#setNode(node);
        },
        delete: (name) => {
          this.#changes += 1;
          this.#view.nodes.remove(name, this.#options.serverNow());
          this.#nodeChanged(name);
        },
      },
      onClusterChanged: () => {
        this.#changes += 1;
      },
      onSynced: (resource) => {
        this.#synced.add(resource);
        if (this.#isComplete) this.#complete.resolve();
      },
      onOutdated: (resource) => {
        if (this.#isComplete) this.#complete = Promise.withResolvers();
        this.#synced.delete(resource);
      },
      onRetry: (resource, failure) => {
        this.#unread.set(resource, failure);
        this.#options.observer.retrying(`watching ${resource}`, failure);
      },
      onRecovered: (resource) => {
        this.#unread.delete(resource);
        this.#options.observer.recovered(`watching ${resource}`);
      },
    });
  }

  get #isComplete(): boolean {
    return this.#synced.size === watchedResources.length;
  }

  #setCsr(csr: WatchedCsr): void {
    const { name } = csr;
    const isNew = this.#index(csr);
    const known = this.#pending.get(name);
    const isSame = known?.csr.uid === csr.uid;
    // The response to a request may be newer than the watch.
    if (isSame && compareAge(csr, known.csr) < 0) return;
    // A decision about one CSR changes no decision about another one.
    if (isNew) this.#changes += 1;
    if (!isPending(csr)) {
      this.#forget(name);
      return;
    }
    if (this.#recorded.get(name) === csr.uid) return;
    if (isSame) known.csr = csr;
    else {
      this.#forget(name);
      this.#pending.add(new PendingCsr(csr, this.#options.environment.clock.elapsed()));
    }
    this.#enqueue(name);
  }

  /** False if the index has the CSR. */
  #index(csr: WatchedCsr): boolean {
    const { csrs } = this.#view;
    const { name, createdAt, resourceVersion } = csr;
    const node = nodeOf(csr);
    const reference = { name, createdAt, resourceVersion, node: node ?? '' };
    if (csrs.has(reference)) return false;
    csrs.put(reference, node === undefined ? undefined : keyDigestOf(csr));
    return true;
  }

  #deleteCsr(name: string): void {
    this.#changes += 1;
    this.#view.csrs.remove(name);
    this.#forget(name);
  }

  #forget(name: string): void {
    this.#pending.delete(name);
    this.#recorded.delete(name);
    this.#queue.remove(name);
    this.#retries.delete(name);
  }

  #setNode(node: NodeSnapshot): void {
    const { nodes } = this.#view;
    const previous = nodes.get(node.name);
    nodes.put(node, this.#options.serverNow());
    // The kubelet updates the Node every few minutes without changing what the checks use.
    if (previous !== undefined && differsInVersionOnly(previous, node)) return;
    this.#changes += 1;
    this.#nodeChanged(node.name);
  }

  #nodeChanged(name: string): void {
    this.#enqueueAll(this.#pending.ofNode(name));
    this.#enqueueAll(this.#pending.withCode('AddressConflict'));
  }

  #enqueueAll(names: Iterable<string>): void {
    for (const name of names) this.#enqueue(name);
  }

  #enqueue(name: string): void {
    const csr = this.#pending.get(name)?.csr;
    if (csr === undefined) return;
    this.#retries.delete(name);
    const node = nodeOf(csr);
    const isKnown = node !== undefined && this.#view.nodes.get(node) !== undefined;
    const { createdAt, resourceVersion } = csr;
    this.#queue.add({ name, createdAt, resourceVersion, turn: isKnown ? node : '' });
  }

  async #worker(signal: AbortSignal): Promise<void> {
    const what = 'the decision';
    await unlessAborted(this.#options.sourcesSettled, { what, signal });
    for (;;) {
      const { name } = await this.#queue.take(signal);
      try {
        // An approval on outdated facts may be wrong, and a later denial does not undo it.
        while (!this.#isComplete) await unlessAborted(this.#complete.promise, { what, signal });
        const pending = this.#pending.get(name);
        if (pending !== undefined) await this.#decide(pending, signal);
      } finally {
        this.#queue.done(name);
      }
    }
  }

  async #decide(pending: PendingCsr, signal: AbortSignal): Promise<void> {
    try {
      if (pending.isStale && !(await this.#readAgain(pending, signal))) return;
      const first = this.#evaluate(pending);
      // A hold that a GET has confirmed once ends with an event of the watch.
      const isConfirmed = first.outcome === 'hold' && first.code === pending.code;
      const fresh =
        first.finding?.needsFreshNode === true && !isConfirmed
          ? await this.#recorder.readNode(pending.csr, signal)
          : undefined;
      const decision = fresh === undefined ? first : this.#evaluate(pending, fresh);
      if (this.#pending.get(pending.csr.name) !== pending) return;
      await this.#act(pending, { decision, fresh }, signal);
    } catch (error) {
      if (signal.aborted) throw error;
      this.#retryLater(pending, toFailure(error));
    }
  }

  #evaluate(pending: PendingCsr, fresh?: FreshNode): Decision {
    const { policy, sources, serverNow } = this.#options;
    pending.reading ??= readRequest(pending.csr.request);
    return evaluate({
      csr: pending.csr,
      reading: pending.reading,
      facts: this.#view.facts(sources(), fresh),
      policy: policy(),
      now: serverNow(),
    });
  }

  async #act(
    pending: PendingCsr,
    { decision, fresh }: { readonly decision: Decision; readonly fresh: FreshNode | undefined },
    signal: AbortSignal,
  ): Promise<void> {
    const { outcome, code } = decision;
    if (outcome === 'hold') {
      this.#hold(pending, decision);
      if (this.#shouldExplain(pending, decision)) {
        await this.#record(pending, { decision: { ...decision, outcome }, fresh }, signal);
      }
    } else if (outcome === 'ignore') {
      if (this.#pending.wait(pending, code)) this.#options.observer.ignored(pending.csr, decision);
    } else if (code === 'Superseded' && !this.#supersededLimit.tryTake()) {
      this.#retries.set(pending.csr.name, second);
    } else {
      await this.#record(pending, { decision: { ...decision, outcome }, fresh }, signal);
    }
  }

  #hold(pending: PendingCsr, decision: Decision): void {
    const { environment, observer, serverNow } = this.#options;
    if (this.#pending.wait(pending, decision.code)) {
      pending.heldSince = environment.clock.elapsed();
      observer.held(pending.csr, decision);
    }
    const delay = holdDelay(pending.holds, environment.random());
    const { until = Infinity } = decision.finding ?? {};
    const left = Math.max(until - serverNow(), 0);
    const untilExplained = pending.heldSince + explainAfter - environment.clock.elapsed();
    const next = Math.min(delay, left + second / 10);
    this.#retries.set(pending.csr.name, untilExplained > 0 ? Math.min(next, untilExplained) : next);
  }

  /**
   * The node may read its CSR but no Events, so the CSR gets an annotation with the reason. It costs
   * a request, so most holds end before.
   */
  #shouldExplain({ csr, heldSince }: PendingCsr, { code }: Decision): boolean {
    const { environment, policy } = this.#options;
    if (policy().mode === 'observe' || code === 'Superseded') return false;
    if (environment.clock.elapsed() < heldSince + explainAfter) return false;
    const note = approverNote(csr.annotations);
    if (note?.outcome === 'hold' && note.reason === code) return false;
    return this.#explanationLimit.tryTake();
  }

  async #record(
    pending: PendingCsr,
    {
      decision,
      fresh,
    }: { readonly decision: RecordedDecision; readonly fresh?: FreshNode | undefined },
    signal: AbortSignal,
  ): Promise<void> {
    const { csr } = pending;
    if (pending.answeredVersion === csr.resourceVersion) return;
    const { policy, term } = this.#options;
    const changes = this.#changes;
    const isCurrent = (): boolean => {
      if (!term.isLeading() || !this.#isComplete || this.#pending.get(csr.name)?.csr !== csr)
        return false;
      if (this.#changes === changes) return true;
      const { outcome, code } = this.#evaluate(pending, fresh);
      return outcome === decision.outcome && code === decision.code;
    };
    const basis = this.#basis(pending, fresh);
    const { mode } = policy();
    const result = await this.#recorder.record({ csr, decision, basis, mode, isCurrent }, signal);
    await this.#finish(pending, { csr, decision, mode, result }, signal);
  }

  async #finish(
    pending: PendingCsr,
    {
      csr,
      decision,
      mode,
      result,
    }: {
      readonly csr: WatchedCsr;
      readonly decision: RecordedDecision;
      readonly mode: ApproverPolicy['mode'];
      readonly result: RecordResult;
    },
    signal: AbortSignal,
  ): Promise<void> {
    const { observer } = this.#options;
    switch (result.kind) {
      case 'recorded':
        if (decision.outcome === 'hold') this.#explained(pending, result.csr);
        else
          this.#decided(pending, {
            csr,
            mode,
            decision: { ...decision, outcome: decision.outcome },
          });
        return;
      case 'outdated':
        if (this.#options.term.isLeading()) this.#enqueue(csr.name);
        // Trying again at once would not let the event loop end the term.
        else this.#retries.set(csr.name, second);
        return;
      case 'gone':
        this.#deleteCsr(csr.name);
        return;
      case 'refused':
        pending.answeredVersion = csr.resourceVersion;
        observer.refused(csr, result.failure);
        await this.#readAgain(pending, signal);
        return;
      case 'failed':
        pending.isStale = result.isUnknown;
        this.#retryLater(pending, result.failure);
        return;
      default:
        result satisfies never;
    }
  }

  #explained(pending: PendingCsr, stored: WatchedCsr | undefined): void {
    if (stored === undefined) return;
    const isNewer = compareAge(stored, pending.csr) > 0;
    // Otherwise the next decision would begin with a conflict, until the watch sends this version.
    if (this.#pending.get(stored.name) === pending && isNewer) pending.csr = stored;
  }

  #decided(
    pending: PendingCsr,
    {
      csr,
      mode,
      decision,
    }: {
      readonly csr: WatchedCsr;
      readonly mode: ApproverPolicy['mode'];
      readonly decision: FinalDecision;
    },
  ): void {
    const { environment, observer } = this.#options;
    observer.decided(csr, decision, environment.clock.elapsed() - pending.seenAt);
    if (mode === 'observe') {
      // Still pending in the cluster; another policy may decide it.
      pending.answeredVersion = csr.resourceVersion;
      this.#pending.wait(pending, decision.code);
      return;
    }
    this.#forget(csr.name);
    this.#recorded.set(csr.name, csr.uid);
  }

  /** Reads the CSR with a GET. False if another state than pending was found. */
  async #readAgain(pending: PendingCsr, signal: AbortSignal): Promise<boolean> {
    const { name } = pending.csr;
    const found = await this.#recorder.readCsr(pending.csr, signal);
    pending.isStale = false;
    if (found === undefined) this.#deleteCsr(name);
    else this.#setCsr(found);
    return this.#pending.get(name) === pending;
  }

  #noteFailure(request: RequestKind, csr: WatchedCsr, failure: Failure): void {
    const { observer } = this.#options;
    observer.retrying(request, failure);
    if (failure.code !== 'API_FORBIDDEN' || this.#forbidden.has(request)) return;
    this.#forbidden.set(request, failure);
    observer.forbidden(csr, failure);
  }

  #retryLater(pending: PendingCsr, { code, retryAfterMs = 0 }: Failure): void {
    const { name } = pending.csr;
    if (this.#pending.get(name) !== pending) return;
    if (code === 'API_FORBIDDEN') {
      // A missing permission is not a failure of this CSR.
      this.#retries.set(name, retryAfterMs);
      return;
    }
    pending.failures += 1;
    const { random } = this.#options.environment;
    this.#retries.set(name, recordingDelay(pending.failures, retryAfterMs, random()));
  }

  #basis({ csr }: PendingCsr, fresh: FreshNode | undefined): DecisionBasis {
    const { policy, sources } = this.#options;
    const nodeName = nodeOf(csr) ?? '';
    const node = fresh === undefined ? this.#view.nodes.get(nodeName) : fresh.node;
    return {
      policyDigest: policyDigest(policy()),
      sources: {
        ...(node !== undefined && { node: `${node.uid}@${node.resourceVersion}` }),
        ...Object.fromEntries(sources().map((source) => [source.name, source.versionOf(nodeName)])),
      },
    };
  }

  async #forgetEarlierNodes(signal: AbortSignal): Promise<void> {
    const { environment, serverNow } = this.#options;
    for (;;) {
      await environment.clock.sleep(10 * minute, signal);
      this.#view.nodes.forgetEarlier(serverNow() - longestPending);
    }
  }
}

const workerCount = 16;
const explainAfter = minute;
/** kube-controller-manager deletes pending CSRs after a day. */
const longestPending = 25 * hour;
