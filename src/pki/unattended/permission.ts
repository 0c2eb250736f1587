import { join } from 'node:path';
import type { ErrorCode } from '../../core/errors.ts';
import { AgentError } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import { day, formatDuration, formatInstant, minute } from '../../core/instant.ts';
import { rotationFraction } from '../../core/schedule.ts';
import type { UnattendedRenewal } from '../../core/unattended-renewal.ts';
import { otherApiServers } from '../../kube/api-server-list.ts';
import { loadKubeconfig } from '../../kube/kubeconfig.ts';
import { LeaseClient } from '../../kube/lease-client.ts';
import { KubeClient } from '../../kube/rest-client.ts';
import type { ClockSync } from '../../sys/clock-sync.ts';
import type { RenewalItem } from '../renewal/renewal-item.ts';
import type { RenewalRequest } from '../renewal/renewal.ts';
import { requireSameTime, requireSynchronized } from './clock-check.ts';
import { criticalOf, untilCritical } from './critical.ts';
import type { EtcdMembers } from './etcd-members.ts';
import { unhealthyMembers } from './etcd-members.ts';
import { apiLimits, unhealthyServers } from './other-nodes.ts';
import type { HeldLease, LeaseEnvironment, Waiting } from './renewal-lease.ts';
import { inspectLease, pauseBetweenNodes, renewalLease, takeLease } from './renewal-lease.ts';
import { ServerClock } from './server-clock.ts';

/** Whether certificates may be renewed now. */
export type Permission =
  | {
      readonly kind: 'granted';
      readonly items: readonly RenewalItem[];
      /** Absent if the API server does not answer. */
      readonly lease?: HeldLease;
      readonly withoutLease?: NonNullable<UnattendedRenewal['withoutLease']>;
      readonly unhealthySince?: Instant;
    }
  | (Waiting & {
      /** Absent if the health of the other nodes was not checked. */
      readonly unhealthySince?: Instant;
    });

export interface PermissionRequest {
  readonly renewal: RenewalRequest;
  readonly nodeName: string;
  /** The addresses of this machine. */
  readonly addresses: ReadonlySet<string>;
  readonly etcd: EtcdMembers;
  readonly sync: ClockSync;
  readonly due: readonly RenewalItem[];
  /** An earlier renewal has to be completed or undone. */
  readonly isInterrupted: boolean;
  readonly unhealthySince: Instant | undefined;
  readonly onStep: (what: string, state: 'started' | 'ended') => void;
}

/** What the cluster allows, before exceptions. */
type ClusterAnswer =
  | Permission
  | {
      readonly kind: 'unhealthy';
      readonly problems: readonly string[];
      /** Absent without an API server. */
      readonly take?: () => Promise<HeldLease | Waiting>;
    };

/**
 * Takes the Lease if the other control-plane nodes are healthy. Checks their health first, because
 * a release of the Lease would restart the pause. The Lease is taken in the version that was
 * inspected, so no other node can have renewed anything in between.
 * @param resources close the client and release the Lease when they are disposed
 * @throws AgentError CLOCK_UNTRUSTED, KUBECONFIG_*, API_* that a person has to fix, ABORTED
 */
export async function requestPermission(
  request: PermissionRequest,
  resources: AsyncDisposableStack,
): Promise<Permission> {
  try {
    const answer = await askCluster(request, resources);
    switch (answer.kind) {
      case 'granted':
      case 'waiting':
        return answer;
      case 'unhealthy':
        return await unlessCritical(request, answer);
      default:
        return answer satisfies never;
    }
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    return withoutApi(request, error);
  }
}

async function askCluster(
  request: PermissionRequest,
  resources: AsyncDisposableStack,
): Promise<ClusterAnswer> {
  const { renewal, nodeName, addresses, etcd, due, onStep } = request;
  const { clock, version, signal, directories } = renewal;
  const access = resources.use(await loadKubeconfig(join(directories.kubernetes, 'admin.conf')));
  const serverClock = new ServerClock(clock);
  const client = resources.use(
    await KubeClient.open({ access, version, clock, limits: apiLimits, onDate: serverClock.note }),
  );
  const environment: LeaseEnvironment = {
    leases: new LeaseClient(client, renewalLease),
    serverClock,
    clock,
  };
  const lease = await step('the Lease', () => inspectLease(environment, signal));
  requireSameTime(serverClock, access.cluster.server);
  if (lease.kind === 'waiting') return lease;
  const items = lease.kind === 'paused' ? criticalOf(due, clock.now()) : due;
  if (lease.kind === 'paused' && items.length === 0) {
    const retryAfterMs = Math.min(lease.retryAfterMs, untilCritical(due, clock.now()));
    return { kind: 'waiting', reason: lease.reason, retryAfterMs };
  }
  const take = async (): Promise<HeldLease | Waiting> => {
    const taken = await takeLease(environment, lease, { nodeName, signal });
    return taken.kind === 'held' ? resources.use(taken) : taken;
  };
  const problems = await step('the health of the other control-plane nodes', async () => {
    const servers = await otherApiServers(client, { nodeName, addresses }, signal);
    const [api, members] = await Promise.all([
      unhealthyServers(servers, { access, version, clock, signal }),
      unhealthyMembers(etcd, signal),
    ]);
    return [...api, ...members];
  });
  if (problems.length > 0) return { kind: 'unhealthy', problems, take };
  const taken = await take();
  return taken.kind === 'held' ? { kind: 'granted', items, lease: taken } : taken;

  async function step<T>(what: string, work: () => Promise<T>): Promise<T> {
    onStep(what, 'started');
    return work().finally(() => onStep(what, 'ended'));
  }
}

/** Other nodes may be broken for longer than the certificates of this node last. */
const longestWait = day;
/** When to check an unhealthy node again. */
const healthInterval = 5 * minute;

/**
 * Waits while others are unhealthy. After a day, renews what is critical, with the Lease if the API
 * server still grants it. An interrupted renewal does not wait: its files may be the reason why this
 * node does not work.
 */
async function unlessCritical(
  { renewal: { clock }, due, isInterrupted, unhealthySince }: PermissionRequest,
  { problems, take }: Extract<ClusterAnswer, { readonly kind: 'unhealthy' }>,
): Promise<Permission> {
  const now = clock.now();
  const since = Math.min(unhealthySince ?? now, now);
  const critical = criticalOf(due, now);
  const isCritical = now - since > longestWait && critical.length > 0;
  if (!isCritical && !isInterrupted) {
    const reason = `${problems.join('; ')} (for ${formatDuration(now - since)})`;
    return { kind: 'waiting', reason, retryAfterMs: healthInterval, unhealthySince: since };
  }
  const taken = await take?.();
  if (taken?.kind === 'waiting') return { ...taken, unhealthySince: since };
  return {
    kind: 'granted',
    items: isCritical ? critical : [],
    unhealthySince: since,
    ...(isCritical && { withoutLease: 'others-unhealthy' }),
    ...(taken && { lease: taken }),
  };
}

/** Certificates without which the API server of this node, its etcd member or admin.conf does not work. */
const neededForApi: ReadonlySet<string> = new Set([
  'admin.conf',
  'apiserver',
  'apiserver-etcd-client',
  'etcd-server',
  'etcd-peer',
]);

/** Failures that the expiry of a certificate of this node can cause. */
const expiryFailures: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'API_UNREACHABLE',
  'API_TIMEOUT',
  'API_UNTRUSTED',
  'API_UNAUTHORIZED',
  'API_ANONYMOUS',
  'API_SERVER_ERROR',
]);

/** Failures that may pass, such as an API server that is starting or has no etcd. */
const passingFailures: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'API_UNREACHABLE',
  'API_TIMEOUT',
  'API_UNTRUSTED',
  'API_THROTTLED',
  'API_SERVER_ERROR',
]);

async function withoutApi(request: PermissionRequest, error: AgentError): Promise<Permission> {
  const { renewal, due, sync, nodeName } = request;
  const now = renewal.clock.now();
  const [expired] = due
    .filter(({ entry, leaf }) => neededForApi.has(entry.name) && leaf.facts.notAfter <= now)
    .sort((a, b) => a.leaf.facts.notAfter - b.leaf.facts.notAfter);
  if (expired !== undefined && expiryFailures.has(error.code)) {
    requireSynchronized(sync);
    const start = emergencyStart(expired, nodeName);
    if (now >= start) return { kind: 'granted', items: due, withoutLease: 'api-unreachable' };
    const reason = `${expired.entry.name} has expired, and the API server does not answer; the renewal without the Lease begins at ${formatInstant(start)}`;
    return { kind: 'waiting', reason, retryAfterMs: start - now };
  }
  if (!passingFailures.has(error.code)) throw error;
  return unlessCritical(request, { kind: 'unhealthy', problems: [error.message] });
}

/** 0 to 10 minutes after the expiry, so that nodes whose certificates expire together do not begin together. */
function emergencyStart({ entry, leaf }: RenewalItem, nodeName: string): Instant {
  const fraction = rotationFraction(nodeName, entry.name, 'without-lease');
  return leaf.facts.notAfter + Math.floor(fraction * pauseBetweenNodes);
}
