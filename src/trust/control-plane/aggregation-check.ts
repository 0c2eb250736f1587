import { describeError } from '../../core/errors.ts';
import { formatHostPort } from '../../core/host-port.ts';
import { second } from '../../core/instant.ts';
import { KubeClient } from '../../kube/rest-client.ts';
import { accessTo, apiLimits } from '../../pki/unattended/other-nodes.ts';
import type { CheckContext } from './check.ts';
import { waitUntilFine } from './check.ts';
import { logOf } from './managed-component.ts';
import { apiServerOf } from './served-chain.ts';

/** kube-apiserver reloads its client certificate within a second. */
const settling = 3 * second;

/**
 * Waits until kube-apiserver of this node has received answers from all extension API servers for three
 * seconds, in which it loads a new client certificate.
 * @throws AgentError CERT_UNTRUSTED
 */
export async function requireAggregation(
  { node, clock, version, aggregation }: CheckContext,
  signal: AbortSignal,
): Promise<void> {
  const server = apiServerOf(node);
  if (server === undefined || aggregation === undefined || aggregation.apis.length === 0) return;
  const place = `kube-apiserver at ${formatHostPort(server)}`;
  let fineSince: number | undefined;
  const faultNow = async (): Promise<string | undefined> => {
    // With new connections, which use the current certificate.
    const access = accessTo(server, aggregation.access);
    await using client = await KubeClient.open({ access, version, clock, limits: apiLimits });
    const faults = aggregation.apis.map(async ({ name, path }) => {
      const answer = await answerFrom(client, path, signal);
      return answer === 'ok' ? undefined : `${name} does not answer through ${place}: ${answer}`;
    });
    const fault = (await Promise.all(faults)).find(Boolean);
    fineSince = fault === undefined ? (fineSince ?? clock.elapsed()) : undefined;
    if (fineSince === undefined || clock.elapsed() - fineSince >= settling) return fault;
    return `${place} has answered for less than three seconds`;
  };
  const log = logOf(node.components, 'kube-apiserver');
  await waitUntilFine({ clock }, signal, { code: 'CERT_UNTRUSTED', log, faultNow });
}

async function answerFrom(client: KubeClient, path: string, signal: AbortSignal): Promise<string> {
  try {
    const { status } = await client.text({ path, signal });
    return status === 200 ? 'ok' : `status ${status}`;
  } catch (error) {
    signal.throwIfAborted();
    return describeError(error);
  }
}
