import type { ControlPlaneAnnotation } from '../../core/control-plane-annotation.ts';
import {
  controlPlaneAnnotationKey,
  parseControlPlaneAnnotation,
  startedComponents,
} from '../../core/control-plane-annotation.ts';
import { hasCode } from '../../core/errors.ts';
import { componentStarts } from '../../kube/component-starts.ts';
import { readControlPlaneTrust } from '../cluster/control-plane-trust.ts';
import type { NodeApi } from './node-api.ts';
import type { TrustSession } from './session.ts';

/**
 * The files of the control plane on this machine, and when its components started. Undefined on a
 * worker.
 * @throws AgentError ABORTED
 */
export async function controlPlaneAnnotationOf(
  session: TrustSession,
  api: NodeApi,
): Promise<ControlPlaneAnnotation | undefined> {
  const { components, directories } = session.found;
  const isControlPlane = components.some(
    ({ name }) => name === 'kube-apiserver' || name === 'kube-controller-manager',
  );
  if (!isControlPlane) return undefined;
  const trust = await readControlPlaneTrust(components, directories);
  return { ...trust, startedAt: await startsOf(session, api), reportedAt: session.now };
}

/** Those of the last report, until the Node is read again. */
async function startsOf(
  { request: { config, signal } }: TrustSession,
  { client, node, isNodeRemembered }: NodeApi,
): Promise<ControlPlaneAnnotation['startedAt']> {
  const text = node?.annotations[controlPlaneAnnotationKey] ?? '';
  const { startedAt = {} } = parseControlPlaneAnnotation(text) ?? {};
  if (client === undefined || isNodeRemembered) return startedAt;
  try {
    const found = await componentStarts(client, config.nodeName, signal);
    const starts = startedComponents.flatMap((name) => {
      const start = found.get(name);
      return start === undefined ? [] : [[name, start] as const];
    });
    return Object.fromEntries(starts);
  } catch (error) {
    // Without the times, G7 only opens later.
    if (hasCode(error, 'ABORTED')) throw error;
    return startedAt;
  }
}
