import { AgentError } from '../core/errors.ts';
import type { ErrorCode } from '../core/errors.ts';
import type { HostPort } from '../core/host-port.ts';
import { formatHostPort } from '../core/host-port.ts';
import { second } from '../core/instant.ts';
import { aborted, Deadline } from '../kube/deadline.ts';
import type { DiscoveredCluster, DiscoveryContext, DiscoveryRequest } from './discovery.ts';
import { discoverThrough } from './endpoint-discovery.ts';
import { raceInTurn } from './race.ts';

/** An endpoint that does not answer delays the next one by this much. */
const endpointInterval = 3 * second;

/**
 * Discovers and verifies a cluster, as `kubeadm join` does with a token and the hash of its CA. The
 * pins bind every connection that follows, and the token is sent only over a verified connection.
 * @throws AgentError CLUSTER_UNTRUSTED, TOKEN_REJECTED, API_*; ABORTED when the signal fires
 */
export async function discoverCluster(
  request: DiscoveryRequest,
  context: DiscoveryContext,
): Promise<DiscoveredCluster> {
  const { clock, signal } = context;
  /** The last failure of each endpoint that was tried and has not succeeded. */
  const unused = new Map<HostPort, string>();
  using deadline = new Deadline({ clock, ms: request.timeoutMs, signal, what: 'discovery' });
  try {
    const cluster = await raceInTurn({
      items: request.endpoints,
      interval: endpointInterval,
      clock,
      signal: deadline.signal,
      run: async (endpoint, lane) => {
        unused.set(endpoint, `${formatHostPort(endpoint)}: no response yet`);
        const found = await discoverThrough({
          endpoint,
          request,
          context: { ...context, signal: lane.signal },
          onFailure: ({ message }) => {
            unused.set(endpoint, message);
            lane.startNext();
          },
        });
        unused.delete(endpoint);
        return found;
      },
    });
    const warnings = [...unused.values()].map((text) => `endpoint not used: ${text}`);
    return { ...cluster, warnings: [...cluster.warnings, ...warnings] };
  } catch (error) {
    if (signal.aborted) throw aborted('discovery', signal);
    throw error instanceof AggregateError ? combined(error.errors) : error;
  }
}

/** The order in which failures of endpoints matter; every other code comes last. */
const gravest: readonly ErrorCode[] = [
  'CLUSTER_UNTRUSTED',
  'TOKEN_REJECTED',
  'API_UNTRUSTED',
  'API_FORBIDDEN',
  'API_UNAUTHORIZED',
  'API_NOT_FOUND',
  'API_BAD_RESPONSE',
];

/** The error of the only endpoint, or one error with a line for each endpoint. */
function combined(errors: readonly unknown[]): unknown {
  const failures = errors.filter((error) => error instanceof AgentError);
  if (errors.length === 1 || failures.length < errors.length) {
    return errors.find((error) => !(error instanceof AgentError)) ?? errors[0];
  }
  const [worst] = failures.toSorted((a, b) => rank(a) - rank(b));
  const lines = failures.map(({ message }) => `  ${message}`);
  return worst?.withMessage(['no endpoint leads to the cluster', ...lines].join('\n'));
}

function rank({ code }: AgentError): number {
  const place = gravest.indexOf(code);
  return place === -1 ? gravest.length : place;
}
