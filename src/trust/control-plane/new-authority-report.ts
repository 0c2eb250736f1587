import type { ControlPlaneAnnotation } from '../../core/control-plane-annotation.ts';
import {
  controlPlaneAnnotationKey,
  formatControlPlaneAnnotation,
} from '../../core/control-plane-annotation.ts';
import type { TrustAuthority } from '../../core/trust.ts';
import { authorityName, shortFingerprint } from '../../core/trust.ts';
import { isSameAuthority } from '../../core/trust-bundle.ts';
import { annotateNode } from '../../kube/node-annotation.ts';
import { findLocalNode } from '../../pki/inventory/local-inventory.ts';
import { publishedAuthorities } from '../cluster/authorities.ts';
import { readControlPlaneTrust } from '../cluster/control-plane-trust.ts';
import type { GateReason } from '../cluster/gate.ts';
import type { ClusterNode, ClusterState } from '../cluster/state.ts';
import { applyCommand } from './apply-command.ts';
import type { ControlPlaneNode, ControlPlaneNodes } from './control-plane-nodes.ts';
import type { StepRequest } from './step-plan.ts';
import type { ClusterTask } from './task.ts';

/** The CAs of this node. */
export interface KnownAuthorities {
  readonly signing: TrustAuthority;
  /** Absent if this node has no new CA yet. */
  readonly next?: TrustAuthority;
}

/**
 * Why this node may not have this new CA: another node has a different one, or the cluster publishes
 * a CA that this node does not know. Two new CAs would need two rollovers.
 */
export function otherNewAuthorities(
  { state, others }: { readonly state: ClusterState } & Pick<ControlPlaneNodes, 'others'>,
  { signing, next }: KnownAuthorities,
): GateReason[] {
  const known = next === undefined ? [signing] : [signing, next];
  const published = publishedAuthorities(state).filter(
    (authority) =>
      authority.isSelfSigned && !known.some((other) => isSameAuthority(authority, other)),
  );
  const own = next && shortFingerprint(next.fingerprint);
  return [
    ...published.map((authority): GateReason => ({
      state: 'waiting',
      message: `the cluster publishes the CA ${authorityName(authority)}, which is neither the CA in ca.crt nor the new CA of this node`,
      remedy: copyOrComplete,
    })),
    ...others.flatMap(({ name, report }): GateReason[] => {
      const other = report?.next;
      if (other === undefined || other === own) return [];
      const here = own === undefined ? '' : `, and this node has ${own}`;
      return [
        {
          state: 'waiting',
          message: `the Node ${name} reports the new CA ${other}${here}`,
          remedy: `${copyOrComplete}. If ${name} no longer has ca-next.crt, run there: nodecertd trust sync`,
        },
      ];
    }),
  ];
}

const copyOrComplete =
  'Copy ca-next.crt, ca-next.key and ca-bridge.crt from the node that has this CA, or complete its rollover first: nodecertd ca-rollover status';

/**
 * Reports the files of this node on its Node now, so that the same step on another node does not
 * create a second CA. The agent reports them only every ten minutes, and only with trust.enabled.
 */
export function reportTask(
  own: ControlPlaneNode | undefined,
  { request, isDone }: { readonly request: StepRequest; readonly isDone: boolean },
): ClusterTask[] {
  if (own === undefined) return [];
  return [
    {
      kind: 'cluster',
      name: `annotation ${controlPlaneAnnotationKey} of the Node ${own.name}`,
      content: 'the CAs of this node',
      isDone,
      run: (signal) => report(own, { ...request, signal }),
    },
  ];
}

async function report(own: ControlPlaneNode, request: StepRequest): Promise<void> {
  const { client, directories, clock, signal } = request;
  const { components } = await findLocalNode(directories);
  const found: ControlPlaneAnnotation = {
    ...(await readControlPlaneTrust(components, directories)),
    // The step restarts nothing.
    startedAt: own.report?.startedAt ?? {},
    reportedAt: clock.now(),
  };
  const value = formatControlPlaneAnnotation(found);
  await annotateNode(client, { name: own.name, key: controlPlaneAnnotationKey, value }, signal);
}

/** Why the new CA may not be removed: something in the cluster trusts it already. */
export function usersOf(next: TrustAuthority, state: ClusterState): GateReason[] {
  const digits = shortFingerprint(next.fingerprint);
  const found = state.nodes.outcome === 'read' ? state.nodes.value : [];
  const nodes = found.filter(({ report: own }) => trusts(own, digits));
  const isPublished = publishedAuthorities(state).some((one) => isSameAuthority(one, next));
  const drop = `Drop the CA on these nodes when the cluster no longer publishes it: nodecertd trust drop ${digits}`;
  return [
    ...(isPublished ? [inUse('the cluster publishes the new CA')] : []),
    ...(nodes.length === 0
      ? []
      : [{ ...inUse('nodes trust the new CA', drop), objects: nodes.map(({ name }) => name) }]),
  ];
}

/** A reason against the removal of the new CA. */
export function inUse(message: string, remedy = undoTrust): GateReason {
  return { state: 'waiting', message, remedy };
}

const undoTrust = `Undo the step trust on each node first: ${applyCommand('trust')} --undo; if you did it by hand: nodecertd ca-rollover plan --abort`;

function trusts(report: ClusterNode['report'], digits: string): boolean {
  if (report === undefined || report === 'malformed') return false;
  const { kubeconfig, clientCa } = report.places;
  return kubeconfig.includes(digits) || clientCa.includes(digits);
}
