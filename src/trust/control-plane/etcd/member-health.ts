import { describeError } from '../../../core/errors.ts';
import { second } from '../../../core/instant.ts';
import { printable } from '../../../core/printable.ts';
import { formatHostPort } from '../../../core/host-port.ts';
import type { Clock } from '../../../sys/clock.ts';
import type { EtcdAccess } from './access.ts';
import type { EtcdMember, MemberStatus } from './member-api.ts';
import { healthProblem, readMembers, readStatus } from './member-api.ts';
import { serverAt } from './member-probes.ts';

/** The etcd cluster, and why no member may restart now. */
export interface EtcdCluster {
  /** Empty if no member answers that this node can find. */
  readonly members: readonly EtcdMember[];
  readonly problems: readonly MemberProblem[];
}

export interface MemberProblem {
  /** Absent if the port for clients on this node does not answer. */
  readonly member?: EtcdMember;
  /** One sentence without a final period. */
  readonly message: string;
}

/** A member may need a moment to catch up. */
interface Waits {
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** The URLs for clients of the members on other nodes, as the cluster knows them. */
export type Elsewhere = () => Promise<readonly URL[]>;

/**
 * Each member has to be healthy, has to vote, and has to have everything in its database that the
 * cluster had committed when the check began. Otherwise the restart of another member could stop all
 * writes. If the member on this node does not answer, another one names the members.
 * @throws AgentError ABORTED, and the errors of `elsewhere`
 */
export async function inspectEtcd(
  access: EtcdAccess,
  waits: Waits,
  elsewhere: Elsewhere = async () => [],
): Promise<EtcdCluster> {
  const { signal } = waits;
  const { members, problems: local } = await findMembers(access, signal, elsewhere);
  const asked = await Promise.all(members.map((member) => inspectMember(member, access, signal)));
  const committed = asked.flatMap(({ status }) => (status === undefined ? [] : [status.committed]));
  const target = committed.reduce((most, index) => (index > most ? index : most), 0n);
  const lagging = await Promise.all(
    asked.map(async ({ member, status }) =>
      status === undefined || status.applied >= target
        ? undefined
        : lagOf({ member, target }, access, waits),
    ),
  );
  const late = lagging.filter((problem) => problem !== undefined);
  const problems = asked.flatMap(({ member, problems: messages }) =>
    messages.map((message) => ({ member, message })),
  );
  return { members, problems: [...local, ...problems, ...late] };
}

async function findMembers(
  access: EtcdAccess,
  signal: AbortSignal,
  elsewhere: Elsewhere,
): Promise<EtcdCluster> {
  try {
    return { members: await readMembers(access, signal), problems: [] };
  } catch (error) {
    signal.throwIfAborted();
    const place = formatHostPort(access.local);
    const problems = [{ message: `etcd at ${place} does not answer: ${reasonOf(error)}` }];
    for (const local of (await elsewhere()).flatMap(serverAt)) {
      const members = await readMembers({ ...access, local }, signal).catch(() => []);
      signal.throwIfAborted();
      if (members.length > 0) return { members, problems };
    }
    return { members: [], problems };
  }
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

/** A member applies an entry later than another one, on a busy machine by more than a second. */
const longestLag = 10 * second;
const interval = second / 10;

/** The member is read again until it has applied everything. */
async function lagOf(
  { member, target }: { readonly member: EtcdMember; readonly target: bigint },
  access: EtcdAccess,
  { clock, signal }: Waits,
): Promise<MemberProblem | undefined> {
  const [url] = member.clientUrls;
  if (url === undefined) return undefined;
  const start = clock.elapsed();
  try {
    for (;;) {
      const { applied } = await readStatus(url, access, signal);
      if (applied >= target) return undefined;
      if (clock.elapsed() - start >= longestLag) {
        const message = `${placeOf(member)} is behind: it has applied ${applied} of ${target} entries`;
        return { member, message };
      }
      await clock.sleep(interval, signal);
    }
  } catch (error) {
    signal.throwIfAborted();
    return { member, message: `${placeOf(member)} does not answer: ${reasonOf(error)}` };
  }
}

/** As in `the etcd member control-plane-1`. */
export function placeOf({ name, peerUrls: [url] }: EtcdMember): string {
  return `the etcd member ${printable(name || (url?.host ?? 'without a name'), 80)}`;
}

function reasonOf(error: unknown): string {
  return printable(describeError(error), 200);
}
