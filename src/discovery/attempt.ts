import { AgentError, hasCode } from '../core/errors.ts';
import type { HostPort } from '../core/host-port.ts';
import { formatHostPort } from '../core/host-port.ts';
import { printable } from '../core/printable.ts';
import { discoveredAuthority } from './authority.ts';
import type { ClusterInfo } from './cluster-info.ts';
import type { ClusterKubeconfig } from './cluster-kubeconfig.ts';
import { readClusterKubeconfig, unusable } from './cluster-kubeconfig.ts';
import type { ConnectionContext, Observation, VerifiedGet } from './connection.ts';
import { getClusterInfo, getVerified, observe, unverifiedAccess } from './connection.ts';
import type { DiscoveredAuthority, DiscoveredCluster, DiscoveryRequest } from './discovery.ts';
import { clusterInfoIn } from './response.ts';
import { isSignedBy } from './signature.ts';
import { authenticates, notAuthenticated } from './token-check.ts';
import { changedResponse, pinMismatch, wrongSignature } from './untrusted-cluster.ts';

/** What one attempt with one endpoint found. */
export type AttemptOutcome =
  | { readonly kind: 'discovered'; readonly cluster: DiscoveredCluster }
  /** cluster-info has no signature for the token, but maybe for other tokens. */
  | {
      readonly kind: 'unsigned';
      readonly others: number;
      /** True if the token authenticates over a connection that a pinned CA verifies. */
      readonly tryToken: () => Promise<boolean>;
    };

/**
 * Discovers the cluster through one endpoint. Sends the token only after a pinned CA, or the
 * signature if there are no pins, has verified the server.
 */
export class Attempt {
  readonly #request: DiscoveryRequest;
  readonly #context: ConnectionContext;
  readonly #endpoint: string;

  constructor(endpoint: HostPort, request: DiscoveryRequest, context: ConnectionContext) {
    this.#request = request;
    this.#context = context;
    this.#endpoint = urlOf(endpoint);
  }

  /** @throws AgentError CLUSTER_UNTRUSTED, TOKEN_REJECTED, API_*, ABORTED */
  async run(): Promise<AttemptOutcome> {
    const { token } = this.#request;
    const { info, observed } = await this.#readUnverified();
    const signature = info.signatures.get(token.id);
    if (signature === undefined) {
      return {
        kind: 'unsigned',
        others: info.signatures.size,
        tryToken: () => this.#tryUnsigned(info, observed),
      };
    }
    if (!isSignedBy(token, { kubeconfig: info.kubeconfig, signature })) {
      throw wrongSignature(token.id, observed.chain[0]);
    }
    return { kind: 'discovered', cluster: await this.#verify(info, observed) };
  }

  async #readUnverified(): Promise<{ readonly info: ClusterInfo; readonly observed: Observation }> {
    const access = unverifiedAccess(this.#to(this.#endpoint));
    const response = await getClusterInfo(access, this.#context);
    if (response.kind === 'unverified') throw new AgentError('INTERNAL', response.code);
    const now = this.#context.clock.now();
    return { info: clusterInfoIn(response, { access, now }), observed: observe(response, now) };
  }

  async #verify(info: ClusterInfo, observed: Observation): Promise<DiscoveredCluster> {
    const { pins, onlyPinned } = this.#request;
    const kubeconfig = readClusterKubeconfig(info.kubeconfig);
    const bundle = this.#authoritiesOf(kubeconfig);
    const pinned = pins.length > 0 ? await this.#requirePinned({ info, bundle, observed }) : bundle;
    const authorities = onlyPinned ? pinned : bundle;
    const server = this.#serverOf(kubeconfig);
    await this.#tryServer({
      ...this.#to(server),
      trusted: authorities,
      bundle,
      observed: server === this.#endpoint ? observed : { ...observed, chain: [] },
    });
    return {
      server,
      authorities,
      verifiedBy: pins.length === 0 ? 'token' : 'pin',
      warnings: [...(pins.length === 0 ? [withoutPins] : []), ...kubeconfig.warnings],
    };
  }

  #authoritiesOf({ certificates }: ClusterKubeconfig): DiscoveredAuthority[] {
    return certificates.map((der, index) => {
      const authority = discoveredAuthority(der, this.#request.pins);
      if (authority !== undefined) return authority;
      throw unusable(
        `has a certificate that is not a CA: number ${index + 1} of ${certificates.length}`,
      );
    });
  }

  /**
   * Binds everything that follows to the pins: the server has to prove that a pinned CA issued its
   * certificate. Returns the pinned CAs.
   */
  async #requirePinned({
    info,
    bundle,
    observed,
  }: PinCheck): Promise<readonly DiscoveredAuthority[]> {
    const pinned = bundle.filter(({ isPinned }) => isPinned);
    if (pinned.length === 0) throw pinMismatch(this.#request.pins, bundle);
    const target = { ...this.#to(this.#endpoint), trusted: pinned, bundle, observed };
    const response = await getVerified(target, this.#context);
    const access = unverifiedAccess(this.#to(this.#endpoint));
    const again = clusterInfoIn(response, { access, now: this.#context.clock.now() });
    if (again.kubeconfig !== info.kubeconfig) throw changedResponse();
    return pinned;
  }

  /** Tries the token, after the server has proved that it belongs to the cluster. */
  async #tryServer(target: VerifiedGet): Promise<void> {
    const { server } = target;
    const isEndpoint = server === this.#endpoint;
    try {
      const isVerified = isEndpoint && this.#request.pins.length > 0;
      if (!isVerified) await getVerified(target, this.#context);
      const accepted = await authenticates(this.#request, target, this.#context);
      if (!accepted) throw notAuthenticated(this.#request.token.id);
    } catch (error) {
      if (isEndpoint || !(error instanceof AgentError)) throw error;
      throw error.withMessage(`server ${printable(server, 200)}: ${error.message}`);
    }
  }

  async #tryUnsigned(info: ClusterInfo, observed: Observation): Promise<boolean> {
    try {
      const bundle = this.#authoritiesOf(readClusterKubeconfig(info.kubeconfig));
      const pinned = await this.#requirePinned({ info, bundle, observed });
      const target = { ...this.#to(this.#endpoint), trusted: pinned };
      return await authenticates(this.#request, target, this.#context);
    } catch (error) {
      if (hasCode(error, 'ABORTED')) throw error;
      // The message is about the missing signature, even if something else is wrong too.
      return false;
    }
  }

  #serverOf({ server }: ClusterKubeconfig): string {
    return this.#request.server === undefined ? server : urlOf(this.#request.server);
  }

  #to(server: string): { readonly server: string; readonly proxyUrl?: string } {
    const { proxyUrl } = this.#request;
    return { server, ...(proxyUrl !== undefined && { proxyUrl }) };
  }
}

interface PinCheck {
  readonly info: ClusterInfo;
  readonly bundle: readonly DiscoveredAuthority[];
  readonly observed: Observation;
}

/** In the form of URL.href without the slash at the end, as in cluster-info. */
function urlOf(endpoint: HostPort): string {
  return new URL(`https://${formatHostPort(endpoint)}`).href.replace(/\/$/, '');
}

const withoutPins =
  'no hash verifies the CA of the cluster: any machine that knows the token can pose as the cluster';
