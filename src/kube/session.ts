import type { Dispatcher } from 'undici';
import { hasCode } from '../core/errors.ts';
import type { Clock } from '../sys/clock.ts';
import { BearerToken } from './bearer-token.ts';
import type { ClusterAccess, ExecPlugin } from './cluster-access.ts';
import { openDispatcher } from './dispatcher.ts';
import type { PluginCredential } from './exec-credential.ts';
import { pluginFailure } from './exec-plugin.ts';
import { impersonationHeaders } from './impersonation.ts';
import { PluginCredentials } from './plugin-credentials.ts';

interface SessionOptions {
  readonly access: ClusterAccess;
  readonly connectMs: number;
  readonly clock: Clock;
}

/**
 * The connections of one client, and the headers that authenticate its requests. Runs the
 * exec plugin of the kubeconfig if there is no other credential.
 */
export class Session {
  readonly #options: SessionOptions;
  readonly #token: BearerToken;
  readonly #plugin: PluginCredentials | undefined;
  #dispatcher: Dispatcher;
  #credential: PluginCredential | undefined;
  readonly #closing = new Set<Promise<void>>();

  private constructor(options: SessionOptions, dispatcher: Dispatcher) {
    const { access, clock } = options;
    const { token, tokenFile, clientCertificate, plugin } = access.credential;
    this.#options = options;
    this.#dispatcher = dispatcher;
    this.#token = new BearerToken(access, clock);
    const isNeeded = (token ?? tokenFile ?? clientCertificate) === undefined;
    if (isNeeded && plugin !== undefined) {
      this.#plugin = new PluginCredentials({
        access,
        plugin,
        clock,
        adopt: (credential) => this.#adopt(plugin, credential),
      });
    }
  }

  /** @throws AgentError KUBECONFIG_INVALID, API_UNREACHABLE */
  static async open(options: SessionOptions): Promise<Session> {
    return new Session(options, await openDispatcher(options.access, options.connectMs));
  }

  /**
   * Runs the exec plugin if its credential has expired or was rejected. Other credentials are
   * ready at once.
   * @throws AgentError PLUGIN_FAILED, ABORTED
   */
  async ready(signal: AbortSignal): Promise<void> {
    await this.#plugin?.ready(signal);
  }

  get dispatcher(): Dispatcher {
    return this.#dispatcher;
  }

  async headers(): Promise<Record<string, string | string[]>> {
    const { impersonation } = this.#options.access.credential;
    return {
      ...(await this.#token.header(this.#credential?.token)),
      ...impersonationHeaders(impersonation),
    };
  }

  /** Call this when the API server rejects the credential: the next request obtains a new one. */
  invalidate(): void {
    this.#token.invalidate();
    this.#plugin?.invalidate();
  }

  /** Lets outstanding requests finish first. */
  async close(): Promise<void> {
    this.#retire(this.#dispatcher);
    await Promise.all(this.#closing);
    await this.#plugin?.close();
  }

  /** A connection keeps its client certificate, so a new certificate needs new connections (k/k #49899). */
  async #adopt(plugin: ExecPlugin, credential: PluginCredential): Promise<void> {
    if (pemOf(credential) !== pemOf(this.#credential)) {
      const next = await this.#connect(plugin, credential);
      this.#retire(this.#dispatcher);
      this.#dispatcher = next;
    }
    this.#credential = credential;
  }

  async #connect(plugin: ExecPlugin, credential: PluginCredential): Promise<Dispatcher> {
    const { access, connectMs } = this.#options;
    try {
      return await openDispatcher({ ...access, credential }, connectMs);
    } catch (error) {
      if (!hasCode(error, 'KUBECONFIG_INVALID')) throw error;
      const message = 'returned a certificate and a key that cannot be used together';
      throw pluginFailure({ access, plugin }, { message });
    }
  }

  #retire(dispatcher: Dispatcher): void {
    const closed = dispatcher.close().finally(() => this.#closing.delete(closed));
    this.#closing.add(closed);
  }
}

function pemOf(credential: PluginCredential | undefined): string {
  return Buffer.from(credential?.clientCertificate?.pem ?? []).toString('latin1');
}
