import { describeError } from '../../../core/errors.ts';
import { printable } from '../../../core/printable.ts';
import { formatHostPort } from '../../../core/host-port.ts';
import type { EtcdAccess } from './access.ts';
import type { EtcdMember, MemberStatus } from './member-api.ts';
import { healthProblem, readMembers, readStatus } from './member-api.ts';

/** The etcd cluster, and why no member may restart now. */
export interface EtcdCluster {
  /** Empty if the member on this node does not answer. */
  readonly members: readonly EtcdMember[];
  /** One sentence each, without a final period. */
  readonly problems: readonly string[];
}

/**
 * Each member has to be healthy, has to vote, and has to have everything in its database that the
 * cluster had committed when the check began. Otherwise the restart of another member could stop all
 * writes.
 * @throws AgentError ABORTED
 */
export async function inspectEtcd(access: EtcdAccess, signal: AbortSignal): Promise<EtcdCluster> {
  let members: readonly EtcdMember[];
  try {
    members = await readMembers(access, signal);
  } catch (error) {
    signal.throwIfAborted();
    const place = formatHostPort(access.local);
    return { members: [], problems: [`etcd at ${place} does not answer: ${reasonOf(error)}`] };
  }
  const asked = await Promise.all(members.map((member) => inspectMember(member, access, signal)));
  const committed = asked.flatMap(({ status }) => (status === undefined ? [] : [status.committed]));
  const target = committed.reduce((most, index) => (index > most ? index : most), 0n);
  const lagging = await Promise.all(
    asked.map(async ({ member, status }) =>
      status === undefined || status.applied >= target
        ? undefined
        : lagOf({ member, target }, access, signal),
    ),
  );
  const late = lagging.filter((problem) => problem !== undefined);
  return { members, problems: [...asked.flatMap(({ problems }) => problems), ...late] };
}

interface InspectedMember {
  readonly member: EtcdMember;
  readonly status?: MemberStatus;
  readonly problems: readonly string[];
}

async function inspectMember(
  member: EtcdMember,
  access: EtcdAccess,
  signal: AbortSignal,
): Promise<InspectedMember> {
  const [url] = member.clientUrls;
  const place = placeOf(member);
  if (url === undefined) return { member, problems: [`${place} has not started`] };
  try {
    const health = await healthProblem(url, access, signal);
    const status = await readStatus(url, access, signal);
    const problems = [
      ...(health === undefined ? [] : [`${place} is unhealthy: ${health}`]),
      ...(member.isLearner ? [`${place} is a learner, which does not vote yet`] : []),
      ...(status.hasLeader ? [] : [`${place} has no leader`]),
      ...status.errors.map((error) => `${place} reports: ${printable(error, 100)}`),
    ];
    return { member, status, problems };
  } catch (error) {
    signal.throwIfAborted();
    return { member, problems: [`${place} does not answer: ${reasonOf(error)}`] };
  }
}

/** A member applies an entry some milliseconds after another one, so it is read again. */
async function lagOf(
  { member, target }: { readonly member: EtcdMember; readonly target: bigint },
  access: EtcdAccess,
  signal: AbortSignal,
): Promise<string | undefined> {
  const [url] = member.clientUrls;
  if (url === undefined) return undefined;
  try {
    const { applied } = await readStatus(url, access, signal);
    if (applied >= target) return undefined;
    return `${placeOf(member)} is behind: it has applied ${applied} of ${target} entries`;
  } catch (error) {
    signal.throwIfAborted();
    return `${placeOf(member)} does not answer: ${reasonOf(error)}`;
  }
}

/** As in `the etcd member control-plane-1`. */
export function placeOf({ name, peerUrls: [url] }: EtcdMember): string {
  return `the etcd member ${printable(name || (url?.host ?? 'without a name'), 80)}`;
}

function reasonOf(error: unknown): string {
  return printable(describeError(error), 200);
}
