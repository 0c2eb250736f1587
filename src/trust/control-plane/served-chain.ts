import { describeError } from '../../core/errors.ts';
import { formatHostPort } from '../../core/host-port.ts';
import { second } from '../../core/instant.ts';
import { servedChain } from '../../kube/server-certificate.ts';
import { componentEndpoints } from '../../pki/components/component-endpoints.ts';
import type { ComponentName } from '../../pki/components/component.ts';
import { isSameList } from '../../pki/renewal/certificate-chain.ts';
import { servedCertificate } from '../../sys/served-certificate.ts';
import type { DialedServer } from '../cluster/served-leaf.ts';
import type { CheckContext } from './check.ts';
import { waitUntilFine } from './check.ts';
import { logOf } from './managed-component.ts';
import type { RolloverNode } from './node-files.ts';
import { certificatesAt } from './node-files.ts';

/** Undefined if kube-apiserver does not run on this node, or its address is unknown. */
export function apiServerOf({
  components,
}: Pick<RolloverNode, 'components'>): DialedServer | undefined {
  const component = components.find(({ name }) => name === 'kube-apiserver');
  return component && componentEndpoints(component)[0];
}

/**
 * Waits until kube-apiserver of this node serves all certificates of its file.
 * @throws AgentError SERVED_STALE
 */
export async function requireServed(
  context: CheckContext,
  path: string,
  signal: AbortSignal,
): Promise<void> {
  const server = apiServerOf(context.node);
  if (server === undefined) return;
  await requireServedAt(context, { component: 'kube-apiserver', server, path }, signal);
}

/** The same for a port of any component. @throws AgentError SERVED_STALE */
export async function requireServedAt(
  context: CheckContext,
  {
    component,
    server,
    path,
  }: {
    readonly component: ComponentName;
    readonly server: DialedServer;
    readonly path: string;
  },
  signal: AbortSignal,
): Promise<void> {
  const certificates = (await certificatesAt(context.node.tree, path)) ?? [];
  const faultNow = async (): Promise<string | undefined> => {
    const served = await servedBy(server, signal);
    const place = `${component} at ${formatHostPort(server)}`;
    if (typeof served === 'string') return `${place} does not answer: ${served}`;
    return isSameList(served, certificates) ? undefined : `${place} does not serve ${path}`;
  };
  const log = logOf(context.node.components, component);
  await waitUntilFine(context, signal, { code: 'SERVED_STALE', log, faultNow });
}

/** The served certificates, or why there are none. */
async function servedBy(
  server: DialedServer,
  signal: AbortSignal,
): Promise<{ readonly der: Uint8Array }[] | string> {
  try {
    const leaf = await servedCertificate({ ...server, signal, handshakeMs: 5 * second });
    return servedChain(leaf).map(({ raw }) => ({ der: raw }));
  } catch (error) {
    signal.throwIfAborted();
    return describeError(error);
  }
}
