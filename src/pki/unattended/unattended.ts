import type { Failure } from '../../core/errors.ts';
import { AgentError, hasCode, toFailure } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import { formatInstant, hour, minute, second } from '../../core/instant.ts';
import type { UnattendedCertificate, UnattendedRenewal } from '../../core/unattended-renewal.ts';
import { without } from '../../core/without.ts';
import type { ClockSync } from '../../sys/clock-sync.ts';
import { endpointsOf } from '../inventory/local-inventory.ts';
import { restartsOf } from '../renewal/restart.ts';
import type { Advice } from '../renewal/renewal-advice.ts';
import type { RenewalItem } from '../renewal/renewal-item.ts';
import { restartOfItem } from '../renewal/renewal-restarts.ts';
import type { RenewalResult } from '../renewal/renewal-run.ts';
import { requireNoInterruptedStep } from '../renewal/rollover-runs.ts';
import type { RenewalPreview } from '../renewal/renewal.ts';
import { directoryOf, renew } from '../renewal/renewal.ts';
import { requireTrustedClock } from './clock-check.ts';
import { etcdMembersOf } from './etcd-members.ts';
import { isCritical, untilCritical } from './critical.ts';
import type { Memory } from './memory.ts';
import { readMemory, writeMemory } from './memory.ts';
import { certificateOf, renewedSince, withBegun, withEnd, withRenewals } from './past-renewals.ts';
import type { Permission } from './permission.ts';
import { requestPermission } from './permission.ts';
import { pauseBetweenNodes } from './renewal-lease.ts';
import type { PlanEnvironment, Problem, UnattendedPlan } from './unattended-plan.ts';
import { nextDueOf, planUnattended } from './unattended-plan.ts';

export interface UnattendedRequest extends PlanEnvironment {
  readonly clockSync: () => Promise<ClockSync>;
  /** The addresses of this machine. */
  readonly addresses: ReadonlySet<string>;
  /** Makes the document of the plan, which is stored beside the copies. */
  readonly describe: (preview: RenewalPreview) => unknown;
  readonly onStep: (what: string, state: 'started' | 'ended') => void;
}

/** What a call has done. */
interface Outcome {
  readonly outcome: UnattendedRenewal['outcome'];
  readonly reason?: string;
  readonly failure?: Failure;
  readonly result?: RenewalResult;
  /** Written before the renewal began; absent if none did. */
  readonly begun?: Memory;
  readonly withoutLease?: UnattendedRenewal['withoutLease'];
  readonly retryAfterMs?: number;
  /** Remembered for the next call; `unknown` if the other nodes were not checked. */
  readonly unhealthySince?: Instant | 'unknown';
}

/**
 * Renews the due certificates if the clock is right, the other control-plane nodes are healthy and
 * none of them renews at the same time.
 * @throws AgentError STORE_* if the memory cannot be written; ABORTED before the renewal
 */
export async function renewUnattended(request: UnattendedRequest): Promise<UnattendedRenewal> {
  const { clock } = request.renewal;
  const directory = directoryOf(request.renewal);
  const earlier = await readMemory(directory);
  const plan = await planUnattended(request);
  // An earlier call may have been killed after a renewal.
  const memory = withEnd(earlier, plan);
  const outcome = await attempt(request, { plan, memory });
  const { begun } = outcome;
  const after = begun === undefined ? plan : await planUnattended(request);
  const ended = withEnd(withRenewals(begun ?? memory, certificatesOf(outcome)), after);
  const past = { memory: ended, renewed: renewedSince(earlier, ended), now: clock.now() };
  const remembered = remember(outcome, past);
  await writeMemory(directory, remembered);
  return documentOf(outcome, after, { ...past, memory: remembered });
}

function certificatesOf({ result }: Outcome): UnattendedCertificate[] {
  const renewed = result?.renewed ?? [];
  return renewed.map(({ item, certificate }) => certificateOf(item.entry.name, certificate.facts));
}

interface Attempt {
  readonly plan: UnattendedPlan;
  readonly memory: Memory;
}

async function attempt(request: UnattendedRequest, given: Attempt): Promise<Outcome> {
  const { plan } = given;
  const { renewal, clockSync } = request;
  try {
    const sync = await clockSync();
    const { clock, directories } = renewal;
    await requireTrustedClock({ now: clock.now(), sync, directories });
    if (plan.due.length > 0 || plan.interrupted !== undefined) {
      // Before the Lease, whose release would delay other nodes.
      await requireNoInterruptedStep(directories);
      return await renewIfPermitted(request, { ...given, sync });
    }
    const [problem] = plan.problems;
    return problem === undefined ? { outcome: 'not-due' } : refusedBy(problem);
  } catch (error) {
    if (!(error instanceof AgentError) || error.code === 'ABORTED') throw error;
    const isClock = error.code === 'CLOCK_UNTRUSTED';
    return {
      outcome: 'refused',
      failure: toFailure(error),
      unhealthySince: 'unknown',
      // A time service may need a few minutes after the boot.
      ...(isClock && { retryAfterMs: 5 * minute }),
    };
  }
}

function refusedBy({ code = 'INTERNAL', reason, remedy }: Problem): Outcome {
  const failure = { code, message: reason, ...(remedy !== undefined && { remedy }) };
  return { outcome: 'refused', failure };
}

async function renewIfPermitted(
  request: UnattendedRequest,
  { plan, memory, sync }: Attempt & { readonly sync: ClockSync },
): Promise<Outcome> {
  const { renewal, options, node, addresses, onStep } = request;
  // Releases the Lease at the end.
  await using resources = new AsyncDisposableStack();
  const permission = await requestPermission(
    {
      renewal,
      nodeName: options.hostName,
      addresses,
      etcd: etcdMembersOf(node.components),
      sync,
      due: plan.due,
      isInterrupted: plan.interrupted !== undefined,
      unhealthySince: memory.unhealthySince,
      onStep,
    },
    resources,
  );
  if (permission.kind === 'granted') return await renewNow(request, { plan, memory }, permission);
  const { reason, retryAfterMs, unhealthySince = 'unknown' } = permission;
  return { outcome: 'waiting', reason, retryAfterMs, unhealthySince };
}

async function renewNow(
  request: UnattendedRequest,
  { plan, memory }: Attempt,
  permission: Extract<Permission, { readonly kind: 'granted' }>,
): Promise<Outcome> {
  const { renewal, options, node, describe, onStep } = request;
  const { items, lease, withoutLease, unhealthySince } = permission;
  const chosen = withOneRestart(items, request, plan);
  const begun = withBegun(memory, chosen);
  const common = {
    begun,
    ...(withoutLease !== undefined && { withoutLease }),
    ...(unhealthySince !== undefined && { unhealthySince }),
  };
  const left = plan.due.filter((item) => !chosen.includes(item));
  const isMore = left.length > 0 || plan.interrupted !== undefined;
  await writeMemory(directoryOf(renewal), begun);
  let current = 'an interrupted renewal';
  onStep(current, 'started');
  try {
    const { result } = await renew(renewal, {
      ...options,
      selection: chosen.map(({ entry }) => entry.name),
      endpoints: endpointsOf(node),
      restarts: restartsOf(node),
      describe,
      requireLock: () => {
        if (renewal.signal.aborted) throw new AgentError('ABORTED', 'the renewal was interrupted');
        lease?.requireHeld();
      },
      onItem: ({ entry }) => {
        onStep(current, 'ended');
        current = entry.name;
        onStep(current, 'started');
      },
    });
    const failure = result.failed && withNextCall(result.failed.failure);
    if (failure !== undefined) return { outcome: 'failed', failure, result, ...common };
    return {
      outcome: 'renewed',
      result,
      ...common,
      ...(isMore && {
        retryAfterMs: Math.min(pauseBetweenNodes, untilCritical(left, renewal.clock.now())),
      }),
    };
  } catch (error) {
    if (hasCode(error, 'ABORTED')) throw error;
    if (!(error instanceof AgentError)) throw error;
    if (error.code === 'STORE_LOCKED') {
      return { outcome: 'waiting', reason: error.message, retryAfterMs: minute, ...common };
    }
    return { outcome: 'failed', failure: toFailure(error), ...common };
  } finally {
    onStep(current, 'ended');
  }
}

/** The usual remedy of ABORTED is about the agent, but Ctrl-C can interrupt a renewal too. */
function withNextCall(failure: Failure): Failure {
  if (failure.code !== 'ABORTED') return failure;
  return { ...failure, remedy: 'Do nothing; the next call renews what remains' };
}

/**
 * One call restarts at most one component, so that ten minutes pass between two restarts on the
 * same node, too. A certificate that is about to expire does not wait.
 */
function withOneRestart(
  items: readonly RenewalItem[],
  { node, renewal: { clock } }: UnattendedRequest,
  { interrupted }: UnattendedPlan,
): RenewalItem[] {
  const restarts = restartsOf(node);
  const now = clock.now();
  // The completion of an interrupted run may restart a component.
  let isFree = interrupted === undefined;
  return items.filter((item) => {
    if (restartOfItem(item, restarts) === undefined) return true;
    const isChosen = isFree || isCritical(item, now);
    if (isChosen) isFree = false;
    return isChosen;
  });
}

/** What the next call and the document have to know. */
interface Past {
  readonly memory: Memory;
  /** By this call, or by a call that was killed. */
  readonly renewed: readonly UnattendedCertificate[];
  readonly now: Instant;
}

function remember({ outcome, unhealthySince }: Outcome, { memory, renewed, now }: Past): Memory {
  const since = unhealthySince === 'unknown' ? memory.unhealthySince : unhealthySince;
  const isSuccess = outcome !== 'failed' && renewed.length > 0;
  return {
    ...without(memory, 'unhealthySince'),
    ...(since !== undefined && { unhealthySince: since }),
    ...(isSuccess && { lastSuccess: now }),
  };
}

function documentOf(
  { outcome, reason, failure, result, withoutLease, retryAfterMs }: Outcome,
  plan: UnattendedPlan,
  { memory, renewed, now }: Past,
): UnattendedRenewal {
  const byThisCall = result?.renewed ?? [];
  const text = failure?.message ?? reason;
  const retry = retryAfterMs ?? timeUntilDue(plan, outcome, now);
  return {
    apiVersion: 'nodecertd.io/v1alpha1',
    kind: 'UnattendedRenewal',
    outcome,
    ...(text !== undefined && { reason: text }),
    ...(failure && { code: failure.code }),
    ...(failure?.remedy !== undefined && { remedy: failure.remedy }),
    ...(withoutLease !== undefined && { withoutLease }),
    renewed,
    lastRenewals: memory.renewals,
    restarted: byThisCall.flatMap(({ restarted }) =>
      restarted === undefined
        ? []
        : [{ component: restarted.component, seconds: Math.round(restarted.tookMs / second) }],
    ),
    problems: [
      ...plan.problems,
      ...byThisCall.flatMap(unservedProblem),
      ...(result?.controlPlane ?? []).map(controlPlaneProblem),
    ],
    ...nextDueOf(plan),
    ...(memory.lastSuccess !== undefined && { lastSuccess: formatInstant(memory.lastSuccess) }),
    ...(retry !== undefined && { retryAfterSeconds: Math.ceil(retry / second) }),
  };
}

/** A maintenance window may open and close between two hourly checks. */
function timeUntilDue(
  { next }: UnattendedPlan,
  outcome: UnattendedRenewal['outcome'],
  now: Instant,
): number | undefined {
  if (next === undefined || (outcome !== 'not-due' && outcome !== 'renewed')) return undefined;
  const left = next.time - now;
  return left > 0 && left < hour ? left : undefined;
}

function unservedProblem({ item, served }: RenewalResult['renewed'][number]): Problem[] {
  if (served?.kind !== 'unverified') return [];
  const { name, reason, remedy } = served;
  const what = `${name} does not serve the new certificate: ${reason}`;
  return [{ name: item.entry.name, code: 'SERVED_STALE', reason: what, remedy }];
}

function controlPlaneProblem({ what, remedy }: Advice): Problem {
  return { name: 'control-plane', reason: what, ...(remedy !== undefined && { remedy }) };
}
