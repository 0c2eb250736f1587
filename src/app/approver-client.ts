import type { ApiRequestRecord } from '../core/enroller-protocol.ts';
import { AgentError } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { second } from '../core/instant.ts';
import { version } from '../core/version.ts';
import type { ClusterAccess } from '../kube/cluster-access.ts';
import { KubeClient } from '../kube/rest-client.ts';
import type { Clock } from '../sys/clock.ts';

export interface ApproverClientOptions {
  /** Reads the kubeconfig, or the service account of the pod. */
  readonly load: () => Promise<ClusterAccess>;
  readonly clock: Clock;
  readonly onRequest: (record: ApiRequestRecord) => void;
}

/** The client of an approver, and the time at the API server. */
export class ApproverClient implements AsyncDisposable {
  readonly #options: ApproverClientOptions;
  #client: KubeClient | undefined;
  #openedAt = 0;
  #opening: Promise<void> | undefined;
  /** Local clock minus server clock in milliseconds. */
  #skew = 0;
  readonly #draining = new Set<Promise<void>>();

  constructor(options: ApproverClientOptions) {
    this.#options = options;
  }

  current(): KubeClient {
    if (this.#client === undefined) throw new AgentError('INTERNAL', 'no API client is open');
    return this.#client;
  }

  serverNow(): Instant {
    return this.#options.clock.now() - this.#skew;
  }

  /**
   * Reads the credential again and opens new connections. Watches continue on these. Does nothing
   * if that happened within the last seconds, because many requests fail together.
   * @throws AgentError KUBECONFIG_*
   */
  async refresh(): Promise<void> {
    const isFresh = this.#options.clock.elapsed() - this.#openedAt < shortestRefresh;
    if (this.#client !== undefined && isFresh) return;
    this.#opening ??= this.#open().finally(() => {
      this.#opening = undefined;
    });
    await this.#opening;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opening?.catch(() => undefined);
    this.#replace(undefined);
    await Promise.all(this.#draining);
  }

  async #open(): Promise<void> {
    const { load, clock, onRequest } = this.#options;
    this.#openedAt = clock.elapsed();
    const access = await load();
    try {
      const client = await KubeClient.open({
        access,
        version,
        clock,
        onRequest,
        onDate: (serverTime) => {
          // The header is rounded down to whole seconds, so by half a second on average.
          const ms = clock.now() - (serverTime + second / 2);
          this.#skew = Math.abs(ms) <= second ? 0 : ms;
        },
      });
      this.#replace(client);
    } catch (error) {
      access[Symbol.dispose]();
      throw error;
    }
  }

  #replace(client: KubeClient | undefined): void {
    const old = this.#client;
    this.#client = client;
    if (old === undefined) return;
    const drained = this.#drain(old).finally(() => this.#draining.delete(drained));
    this.#draining.add(drained);
  }

  async #drain(client: KubeClient): Promise<void> {
    await client.close().catch(() => undefined);
    client.access[Symbol.dispose]();
  }
}

const shortestRefresh = 10 * second;
