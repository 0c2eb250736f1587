import type { ApiRequestRecord } from '../core/enroller-protocol.ts';
import type { Instant } from '../core/instant.ts';
import { second } from '../core/instant.ts';
import { version } from '../core/version.ts';
import type { ClusterAccess } from '../kube/cluster-access.ts';
import { CurrentClient } from '../kube/current-client.ts';
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
  readonly #client = new CurrentClient();
  #openedAt = 0;
  #opening: Promise<void> | undefined;
  /** Local clock minus server clock in milliseconds. */
  #skew = 0;

  constructor(options: ApproverClientOptions) {
    this.#options = options;
  }

  current(): KubeClient {
    return this.#client.get();
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
    if (this.#client.isOpen && isFresh) return;
    this.#opening ??= this.#open().finally(() => {
      this.#opening = undefined;
    });
    await this.#opening;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opening?.catch(() => undefined);
    await this.#client[Symbol.asyncDispose]();
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
      this.#client.replace(client);
    } catch (error) {
      access[Symbol.dispose]();
      throw error;
    }
  }
}

const shortestRefresh = 10 * second;
