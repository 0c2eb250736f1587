import type { ApproverPolicy } from '../core/approver-policy.ts';
import type { ApproverStatus } from '../core/approver-status.ts';
import type { MetricsConfig } from '../core/config.ts';
import type { Failure } from '../core/errors.ts';
import { AgentError, credentialFailures, toFailure } from '../core/errors.ts';
import { failureFields } from '../core/log-events.ts';
import { second } from '../core/instant.ts';
import { version } from '../core/version.ts';
import { decisionCodes } from '../approver/decision.ts';
import { EventRecorder } from '../approver/event-recorder.ts';
import type { Term } from '../approver/leader-election.ts';
import { LeaderElection } from '../approver/leader-election.ts';
import { MachineFollower } from '../approver/machine-follower.ts';
import { policyDigest, shortPolicyDigest } from '../approver/policy-digest.ts';
import { runTasks } from '../approver/tasks.ts';
import type { TermObserver } from '../approver/term-work.ts';
import { TermWork } from '../approver/term-work.ts';
import { watchedResources } from '../approver/cluster-watch.ts';
import { nodeOf } from '../approver/watched-csr.ts';
import type { ClusterAccess } from '../kube/cluster-access.ts';
import type { FollowEnvironment } from '../kube/follow.ts';
import type { LeaseName } from '../kube/lease-client.ts';
import { LeaseClient } from '../kube/lease-client.ts';
import { ApproverMetrics } from '../metrics/approver-metrics.ts';
import { answerOfApprover } from '../metrics/approver-routes.ts';
import type { MetricsServer } from '../metrics/server.ts';
import { startPageServer } from '../metrics/server.ts';
import type { Clock } from '../sys/clock.ts';
import type { Logger } from '../sys/log.ts';
import { releaseMemory, trimMemory } from '../sys/memory.ts';
import { ApproverClient } from './approver-client.ts';
import { IdleMemory, muchWork } from './idle-memory.ts';
import { managementCluster, ownCluster } from './management-cluster.ts';
import type { LoadedPolicy, PolicyLoader } from './policy-loader.ts';

export interface ApproverOptions {
  /** Reads the kubeconfig, or the service account of the pod. */
  readonly loadAccess: () => Promise<ClusterAccess>;
  readonly policy: Pick<PolicyLoader, 'load' | 'isChanged'>;
  readonly lease: LeaseName;
  /** Unique for each process: the holder of the Lease. */
  readonly identity: string;
  readonly metrics: MetricsConfig;
  readonly logger: Logger;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  /** Called when metrics are served and the election begins. */
  readonly onStarted?: () => void;
}

/** One replica: competes for the Lease, decides while it leads, and serves metrics. */
export class Approver {
  readonly #options: ApproverOptions;
  readonly #client: ApproverClient;
  readonly #environment: FollowEnvironment;
  readonly #metrics: ApproverMetrics;
  readonly #events: EventRecorder;
  readonly #memory: IdleMemory;
  #loaded: LoadedPolicy | undefined;
  #work: TermWork | undefined;
  #machines: MachineFollower | undefined;
  #leader: string | undefined;
  #leaseFailure: Failure | undefined;
  #eventFailure: Failure | undefined;
  /** The message of the last failure of each request, so that the log has each one once. */
  readonly #failures = new Map<string, string>();

  constructor(options: ApproverOptions) {
    const { clock, random, identity } = options;
    this.#options = options;
    this.#client = new ApproverClient({
      load: options.loadAccess,
      clock,
      onRequest: (record) => {
        this.#metrics.recordApiRequest(record);
      },
    });
    this.#environment = { client: () => this.#client.current(), clock, random };
    this.#memory = new IdleMemory({
      clock,
      release: () => {
        releaseMemory();
        trimMemory();
      },
      isIdle: () => (this.#work?.status().queueDepth ?? 0) === 0,
    });
    this.#metrics = new ApproverMetrics({ status: () => this.status(), decisionCodes });
    this.#events = new EventRecorder({
      environment: this.#environment,
      instance: identity,
      onResult: (failure) => {
        this.#eventFailure = failure;
        if (failure === undefined) this.#recovered('Events');
        else this.#retrying('Events', failure);
      },
    });
  }

  /**
   * Runs until the signal fires, and then releases the Lease.
   * @throws AgentError for an invalid policy or credential, METRICS_LISTEN
   */
  async run(signal: AbortSignal): Promise<void> {
    const { logger, identity, onStarted } = this.#options;
    this.#use(await this.#options.policy.load());
    await using client = this.#client;
    await client.refresh();
    await using server = await this.#listen();
    logger.log('approver_started', { version, identity, ...this.#policyFields });
    logger.log('metrics_listening', { address: server.listening });
    onStarted?.();
    await runTasks(signal, [
      (inner) => this.#elect(inner),
      (inner) => this.#watchPolicy(inner),
      (inner) => this.#memory.run(inner),
    ]);
    logger.log('approver_stopped');
  }

  get policy(): ApproverPolicy {
    if (this.#loaded === undefined) throw new AgentError('INTERNAL', 'the approver is not running');
    return this.#loaded.policy;
  }

  /** Reads the policy and its inventory again. If one is invalid, its last valid version stays in use. */
  async reload(): Promise<void> {
    let loaded: LoadedPolicy;
    try {
      loaded = await this.#options.policy.load();
    } catch (error) {
      this.#refused(error);
      return;
    }
    this.#use(loaded);
    if (loaded.invalidInventory === undefined) {
      this.#options.logger.log('policy_reloaded', this.#policyFields);
    }
    this.#machines?.retarget();
    this.#work?.evaluateAll();
  }

  #use(loaded: LoadedPolicy): void {
    this.#loaded = loaded;
    if (loaded.invalidInventory === undefined) this.#metrics.recordPolicy('accepted');
    else this.#refused(loaded.invalidInventory);
  }

  #refused(error: unknown): void {
    this.#metrics.recordPolicy('refused');
    const failure = failureFields(toFailure(error));
    this.#options.logger.log('policy_refused', { ...this.#policyFields, ...failure });
  }

  /** The policy in use. */
  get #policyFields(): { readonly mode: string; readonly policy: string } {
    return { mode: this.policy.mode, policy: shortPolicyDigest(this.policy) };
  }

  /** A ConfigMap changes without a signal. */
  async #watchPolicy(signal: AbortSignal): Promise<never> {
    const { clock, policy } = this.#options;
    for (;;) {
      await clock.sleep(policyInterval, signal);
      if (await policy.isChanged()) await this.reload();
    }
  }

  status(): ApproverStatus {
    const term = this.#work?.status();
    const machines = this.policy.sources.machine && { machines: this.#machines?.synced === true };
    const failure = this.#machines?.failure;
    const unreadMachines = failure === undefined ? [] : [['machines', failure] as const];
    return {
      isLeader: this.#work !== undefined,
      leader: this.#leader,
      synced: {
        ...Object.fromEntries(
          watchedResources.map((resource) => [resource, term?.synced.has(resource) === true]),
        ),
        ...machines,
      },
      pending: term?.pending ?? new Map(),
      oldestPending: term?.oldestPending,
      queueDepth: term?.queueDepth ?? 0,
      policyDigest: policyDigest(this.policy),
      unread: new Map<string, Failure>([...(term?.unread ?? []), ...unreadMachines]),
      forbidden: term?.forbidden,
      eventFailure: this.#eventFailure,
      leaseFailure: this.#leaseFailure,
      now: this.#client.serverNow(),
    };
  }

  async #listen(): Promise<MetricsServer> {
    const { metrics: config } = this.#options;
    const sources = { metrics: this.#metrics, status: () => this.status(), host: config.host };
    return startPageServer({ config, answer: (request) => answerOfApprover(request, sources) });
  }

  async #elect(signal: AbortSignal): Promise<void> {
    const { clock, random, identity, logger, lease } = this.#options;
    const leases = (): LeaseClient => new LeaseClient(this.#client.current(), lease);
    const election = new LeaderElection({
      identity,
      leases: {
        get: (inner) => leases().get(inner),
        create: (record, inner) => leases().create(record, inner),
        update: (stored, inner) => leases().update(stored, inner),
      },
      clock,
      random,
      lead: (term, inner) => this.#lead(term, inner),
      onHolder: (holder) => {
        if (this.#leader !== undefined || holder !== undefined) this.#metrics.recordTransition();
        this.#leader = holder;
        if (holder !== undefined && holder !== identity) {
          logger.log('approver_standby', { leader: holder });
        }
      },
      onRetry: (failure) => {
        this.#leaseFailure = failure;
        this.#retrying(`the Lease ${lease.namespace}/${lease.name}`, failure);
      },
      onRecovered: () => {
        this.#leaseFailure = undefined;
        this.#recovered(`the Lease ${lease.namespace}/${lease.name}`);
      },
    });
    await election.run(signal);
  }

  async #lead(term: Term, signal: AbortSignal): Promise<void> {
    this.#options.logger.log('approver_leading');
    this.#memory.worked(muchWork);
    const machines = this.#follower();
    this.#machines = machines;
    const work = new TermWork({
      environment: this.#environment,
      policy: () => this.policy,
      sources: () => {
        const { sources = [] } = this.#loaded ?? {};
        return machines.source === undefined ? sources : [...sources, machines.source];
      },
      sourcesSettled: machines.settled,
      controlPlaneEndpoint: this.#controlPlaneEndpoint,
      serverNow: () => this.#client.serverNow(),
      observer: this.#observer(signal),
      term,
    });
    this.#work = work;
    try {
      await runTasks(signal, [(inner) => work.run(inner), (inner) => machines.run(inner)]);
    } finally {
      this.#work = undefined;
      this.#machines = undefined;
      this.#eventFailure = undefined;
      // A standby keeps no copy of the cluster.
      this.#memory.worked(muchWork);
    }
  }

  #follower(): MachineFollower {
    const environment = this.#environment;
    const request = 'watching machines';
    return new MachineFollower({
      target: () => this.policy.sources.machine,
      connect: ({ kubeconfig }) => {
        if (kubeconfig === undefined) return ownCluster(environment);
        return managementCluster(kubeconfig, environment, (record) => {
          this.#metrics.recordApiRequest(record);
        });
      },
      clock: environment.clock,
      onChange: (nodes) => this.#work?.sourceChanged(nodes),
      onRetry: ({ kubeconfig }, failure) => {
        // A management cluster reads its own kubeconfig again.
        if (kubeconfig === undefined) this.#retrying(request, failure);
        else this.#logRetrying(request, failure);
      },
      onSynced: () => {
        this.#recovered(request);
      },
    });
  }

  /** Undefined if the URL has an address. */
  get #controlPlaneEndpoint(): string | undefined {
    const { hostname } = new URL(this.#client.current().access.cluster.server);
    return /^(\[.*\]|[\d.]+)$/.test(hostname) ? undefined : hostname;
  }

  #observer(signal: AbortSignal): TermObserver {
    const { logger } = this.#options;
    return {
      decided: (csr, { outcome, code: reason, message, finding }, ms) => {
        this.#metrics.recordDecision({ outcome, reason, ms });
        this.#memory.worked();
        const { mode } = this.policy;
        const node = nodeOf(csr) ?? '';
        logger.log('csr_decided', {
          csr: csr.name,
          node,
          outcome,
          reason,
          mode,
          decision: message,
        });
        if (mode === 'observe') return;
        const kind = outcome === 'approve' ? 'approved' : 'denied';
        const otherNodes = finding?.otherNodes ?? [];
        this.#events.record({ csr, kind, note: `${reason}: ${message}`, otherNodes }, signal);
      },
      held: (csr, { code: reason, message, finding }) => {
        this.#metrics.recordDecision({ outcome: 'hold', reason });
        const node = nodeOf(csr) ?? '';
        const remedy = finding?.remedy;
        logger.log('csr_held', { csr: csr.name, node, reason, decision: message, remedy });
        const others = finding?.otherNodes ?? [];
        const otherNodes = others.length > 0 ? [node, ...others] : [];
        const note = `${reason}: ${message}`;
        this.#events.record({ csr, kind: 'held', note, otherNodes }, signal);
      },
      ignored: (csr, { code: reason, message }) => {
        this.#metrics.recordDecision({ outcome: 'ignore', reason });
        logger.log('csr_ignored', { csr: csr.name, requestor: csr.username, reason });
        this.#events.record({ csr, kind: 'ignored', note: `${reason}: ${message}` }, signal);
      },
      refused: (csr, failure) => {
        this.#metrics.recordConflict();
        logger.log('decision_refused', { csr: csr.name, ...failureFields(failure) });
      },
      forbidden: (csr, failure) => {
        const note = `${failure.message}; ${failure.remedy ?? ''}`;
        this.#events.record({ csr, kind: 'forbidden', note }, signal);
      },
      retrying: (what, failure) => {
        this.#retrying(what, failure);
      },
      recovered: (what) => {
        this.#recovered(what);
      },
    };
  }

  #retrying(request: string, failure: Failure): void {
    if (credentialFailures.has(failure.code)) {
      this.#client.refresh().catch((error: unknown) => {
        this.#logRetrying('reading the credential', toFailure(error));
      });
    }
    this.#logRetrying(request, failure);
  }

  #logRetrying(request: string, failure: Failure): void {
    const { code } = failure;
    if (this.#failures.get(request) === code) return;
    this.#failures.set(request, code);
    this.#options.logger.log('approver_retrying', { request, ...failureFields(failure) });
  }

  #recovered(request: string): void {
    if (!this.#failures.delete(request)) return;
    this.#options.logger.log('approver_recovered', { request });
  }
}

const policyInterval = 10 * second;
