import type { AgentConfig } from '../core/config.ts';
import type { EnrollerNotice } from '../core/enroller-protocol.ts';
import { AgentError, describeError, hasCode } from '../core/errors.ts';
import { second } from '../core/instant.ts';
import { discoverRemedy } from '../core/remedies.ts';
import { whoAmI } from '../kube/access-review.ts';
import { readAuthorities } from '../kube/authorities.ts';
import type { ClusterAccess, ClusterEndpoint } from '../kube/cluster-access.ts';
import type { KubeClient } from '../kube/rest-client.ts';
import type { Clock } from '../sys/clock.ts';
import type { OpenCredential } from './trust-search.ts';
import { closeCredential } from './trust-search.ts';

export interface RefusedPairOptions {
  readonly config: Pick<AgentConfig, 'bootstrapKubeconfig' | 'bootstrap'>;
  /** The bootstrap credential for this cluster; undefined if none is configured. */
  readonly bootstrapFor: (cluster: ClusterEndpoint) => Promise<ClusterAccess | undefined>;
  /** Disposes the credential if it fails. */
  readonly open: (access: ClusterAccess) => Promise<KubeClient>;
  readonly report: (notice: EnrollerNotice) => void;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Zero if the API server has rejected the pair twice before. */
  readonly pauseMs: number;
}

/**
 * The first 401 may come from an API server whose --client-ca-file is being written, or from one of
 * several behind a load balancer. A second one, later and over another connection, confirms it.
 */
export const confirmationPause = 5 * second;

/**
 * Replaces the pair of a node as its credential if the API server rejects the pair, although it is
 * valid by its dates: the node was off until the API server dropped the CA that issued the pair.
 *
 * @param own the pair, and the cluster of the kubeconfig
 * @returns `own` if the API server accepts it now; else the bootstrap credential
 * @throws AgentError API_UNAUTHORIZED if the API server accepts no credential of this node
 */
export async function replaceRefused(
  own: OpenCredential,
  options: RefusedPairOptions,
): Promise<OpenCredential> {
  try {
    const refusal = await secondRefusal(own.client, options);
    // A token must not be sent to a server that nothing verifies.
    if (refusal === undefined || own.client.access.cluster.insecureSkipTlsVerify) return own;
    const client = await openBootstrap(own.client.access, refusal, options);
    await closeCredential(own.client);
    options.report({ type: 'identity-refused', error: describeError(refusal) });
    return { client, source: 'bootstrap', isOwn: false };
  } catch (error) {
    await closeCredential(own.client);
    throw error;
  }
}

/** Other failures say nothing about the credential, and the next request meets them again. */
async function secondRefusal(
  client: KubeClient,
  { clock, signal, pauseMs }: RefusedPairOptions,
): Promise<AgentError | undefined> {
  await clock.sleep(pauseMs, signal);
  try {
    await whoAmI(client, signal);
    return undefined;
  } catch (error) {
    return hasCode(error, 'API_UNAUTHORIZED') ? error : undefined;
  }
}

async function openBootstrap(
  { cluster }: ClusterAccess,
  refusal: AgentError,
  { config, bootstrapFor, open, signal }: RefusedPairOptions,
): Promise<KubeClient> {
  const context = { config, cluster, cause: refusal };
  const access = await bootstrapFor(cluster).catch((error: unknown) => {
    throw hasCode(error, 'KUBECONFIG_MISSING') ? rejected(error.message, context) : error;
  });
  if (access === undefined) throw rejected('no bootstrap kubeconfig is configured', context);
  const client = await open(access);
  try {
    await whoAmI(client, signal);
    return client;
  } catch (error) {
    await closeCredential(client);
    if (!hasCode(error, 'API_UNAUTHORIZED')) throw error;
    const flags = access.path === config.bootstrapKubeconfig ? ' --force' : '';
    throw rejected(`the credential of ${access.path} too`, { ...context, flags });
  }
}

function rejected(
  reason: string,
  {
    config,
    cluster: { server, certificateAuthority },
    cause,
    flags = '',
  }: {
    readonly config: RefusedPairOptions['config'];
    readonly cluster: ClusterEndpoint;
    readonly cause: AgentError;
    /** Added to the command. */
    readonly flags?: string;
  },
): AgentError {
  const message = `the API server rejects the client certificate of this node, and ${reason}`;
  const { authorities } = readAuthorities(certificateAuthority?.pem ?? new Uint8Array());
  const pins = authorities.map(({ pin }) => pin);
  return new AgentError('API_UNAUTHORIZED', message, {
    cause,
    remedy: `If the CA that issued it was removed too early, add that CA to the file of kube-apiserver --client-ca-file. Otherwise: ${discoverRemedy(config, server, pins)}${flags}`,
  });
}
