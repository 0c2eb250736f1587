import type { Cidr, IpBytes } from '../core/cidr.ts';
import { parseCidr, parseIp } from '../core/cidr.ts';
import { CsrIndex } from './csr-index.ts';
import type { ClusterFacts, Facts, FreshNode, Source } from './facts.ts';
import { NodeIndex } from './node-index.ts';

/** What the leader knows about the cluster. Reflectors fill it, and the checks read it. */
export class ClusterView {
  readonly nodes = new NodeIndex();
  readonly csrs = new CsrIndex();
  readonly #endpoint: string | undefined;
  readonly #serviceCidrs = new Map<string, readonly Cidr[]>();
  readonly #apiServers = new Map<string, readonly IpBytes[]>();
  #kubernetesService: readonly IpBytes[] = [];
  /** Joined once for each change, because thousands of evaluations read them. */
  #cluster: ClusterFacts | undefined;

  /** @param controlPlaneEndpoint the host in the URL of the API server, if it is a name */
  constructor(controlPlaneEndpoint: string | undefined) {
    this.#endpoint = controlPlaneEndpoint;
  }

  facts(sources: readonly Source[], freshNode?: FreshNode): Facts {
    const { nodes, csrs, cluster } = this;
    return { nodes, csrs, cluster, sources, ...(freshNode !== undefined && { freshNode }) };
  }

  get cluster(): ClusterFacts {
    this.#cluster ??= {
      serviceCidrs: [...this.#serviceCidrs.values()].flat(),
      kubernetesService: this.#kubernetesService,
      apiServers: [...this.#apiServers.values()].flat(),
      controlPlaneEndpoint: this.#endpoint,
    };
    return this.#cluster;
  }

  /** @param cidrs of the ServiceCIDR; undefined once it is deleted */
  setServiceCidrs(name: string, cidrs: readonly string[] | undefined): void {
    setOrDelete(
      this.#serviceCidrs,
      name,
      cidrs?.flatMap((text) => parseCidr(text) ?? []),
    );
    this.#cluster = undefined;
  }

  /** @param addresses of the EndpointSlice; undefined once it is deleted */
  setApiServers(name: string, addresses: readonly string[] | undefined): void {
    setOrDelete(
      this.#apiServers,
      name,
      addresses?.flatMap((text) => parseIp(text) ?? []),
    );
    this.#cluster = undefined;
  }

  setKubernetesService(addresses: readonly string[]): void {
    this.#kubernetesService = addresses.flatMap((text) => parseIp(text) ?? []);
    this.#cluster = undefined;
  }

  serviceCidrNames(): Iterable<string> {
    return this.#serviceCidrs.keys();
  }

  endpointSliceNames(): Iterable<string> {
    return this.#apiServers.keys();
  }
}

function setOrDelete<V>(map: Map<string, V>, key: string, value: V | undefined): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
}
