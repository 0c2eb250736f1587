import { AgentError } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import { formatInstant } from '../../core/instant.ts';
import type { RenewalSchedule } from '../../core/renewal-time.ts';
import { renewalTime } from '../../core/renewal-time.ts';
import { rotationFraction } from '../../core/schedule.ts';
import type { UnattendedRenewal } from '../../core/unattended-renewal.ts';
import type { Run } from '../../store/run-manifest.ts';
import type { Component } from '../components/component.ts';
import type { LocalNode } from '../inventory/local-inventory.ts';
import { externalAdvice, restartFor } from '../renewal/renewal-advice.ts';
import type { RenewalItem } from '../renewal/renewal-item.ts';
import type { DueTime, PlannedCertificate } from '../renewal/renewal-plan.ts';
import { restartOfItem } from '../renewal/renewal-restarts.ts';
import type { RenewalOptions, RenewalRequest } from '../renewal/renewal.ts';
import { previewRenewal } from '../renewal/renewal.ts';
import { requireRestartable, restartsOf } from '../renewal/restart.ts';

export type Problem = UnattendedRenewal['problems'][number];

export interface PlanEnvironment {
  readonly renewal: RenewalRequest;
  readonly options: Omit<RenewalOptions, 'selection' | 'dueTime' | 'importFrom'>;
  readonly schedule: RenewalSchedule;
  readonly node: Pick<LocalNode, 'components' | 'kubelet'>;
}

export interface UnattendedPlan {
  /** The certificates to renew now, in order. */
  readonly due: readonly RenewalItem[];
  /** Certificates that are due, or unreadable, and that nodecertd cannot renew. */
  readonly problems: readonly Problem[];
  /** An earlier run to complete or undo. */
  readonly interrupted?: Run;
  readonly next?: { readonly item: RenewalItem; readonly time: Instant };
  /** All readable certificates, by name. */
  readonly found: ReadonlyMap<string, RenewalItem>;
}

/** Finds the due certificates and the problems that prevent their renewal. Writes nothing. */
export async function planUnattended(environment: PlanEnvironment): Promise<UnattendedPlan> {
  const { renewal, options, schedule, node } = environment;
  const now = renewal.clock.now();
  const dueTime: DueTime = ({ entry, leaf, storedAt }) => {
    const fraction = rotationFraction(options.hostName, entry.name, leaf.facts.serial);
    return renewalTime({ ...leaf.facts, storedAt }, schedule, { fraction, now });
  };
  const preview = await previewRenewal(renewal, { ...options, selection: 'due', dueTime });
  const due: RenewalItem[] = [];
  const problems = preview.certificates.flatMap(problemOf);
  for (const planned of preview.certificates) {
    if (planned.kind !== 'renew' || !isExtended(planned.item)) continue;
    const obstacle = await restartObstacle(planned.item, node.components);
    if (obstacle === undefined) due.push(planned.item);
    else problems.push(obstacle);
  }
  const [next] = preview.certificates
    .flatMap((one) => (one.kind === 'not-due' ? [one.item] : []))
    .concat(due)
    .filter(({ signer }) => signer.kind === 'local')
    .map((item) => ({ item, time: dueTime(item) }))
    .sort((a, b) => a.time - b.time);
  const { interrupted } = preview;
  const items = preview.certificates.flatMap((one) => ('item' in one ? [one.item] : []));
  const found = new Map(items.map((item) => [item.entry.name, item]));
  return { due, problems, found, ...(interrupted && { interrupted }), ...(next && { next }) };
}

/** False if the CA expires so soon that a renewal only costs a restart. */
function isExtended({ validity, leaf }: RenewalItem): boolean {
  return validity.notAfter > leaf.facts.notAfter;
}

function problemOf(planned: PlannedCertificate): Problem[] {
  switch (planned.kind) {
    case 'external': {
      const { what, remedy } = externalAdvice(planned.item);
      const { name } = planned.item.entry;
      return [{ name, code: 'CA_EXTERNAL', reason: what, ...(remedy !== undefined && { remedy }) }];
    }
    case 'refused': {
      const { code, message: reason, remedy } = planned.failure;
      return [{ name: planned.entry.name, code, reason, ...(remedy !== undefined && { remedy }) }];
    }
    case 'renew':
    case 'not-due':
    case 'missing':
    case 'pending':
    case 'imported':
      return [];
    default:
      return planned satisfies never;
  }
}

/**
 * Why the component that reads this certificate only when it starts cannot be restarted. It would
 * fail when its previous certificate expires, and nothing would show that before.
 */
async function restartObstacle(
  item: RenewalItem,
  components: readonly Component[],
): Promise<Problem | undefined> {
  const { name } = item.entry;
  const needed = restartFor(item);
  const isRunning = components.some((component) => component.name === needed?.component);
  if (needed === undefined || !isRunning) return undefined;
  const restart = restartOfItem(item, restartsOf({ components }));
  if (restart === undefined) {
    const reason = `${needed.why}, and neither a manifest nor a service starts it`;
    const remedy = `Renew it by hand, then restart ${needed.component}: nodecertd certs renew ${name}`;
    return { name, code: 'COMPONENT_RESTART', reason, remedy };
  }
  try {
    await requireRestartable(restart, {});
    return undefined;
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    const { code, message: reason, remedy } = error;
    return { name, code, reason, ...(remedy !== undefined && { remedy }) };
  }
}

/** For the document. */
export function nextDueOf({ next }: UnattendedPlan): Pick<UnattendedRenewal, 'nextDue'> {
  if (next === undefined) return {};
  return { nextDue: { name: next.item.entry.name, time: formatInstant(next.time) } };
}
