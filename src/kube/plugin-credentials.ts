import { AgentError } from '../core/errors.ts';
import type { Clock } from '../sys/clock.ts';
import type { ClusterAccess, ExecPlugin } from './cluster-access.ts';
import type { PluginCredential } from './exec-credential.ts';
import { runExecPlugin } from './exec-plugin.ts';

interface PluginCredentialsOptions {
  readonly access: ClusterAccess;
  readonly plugin: ExecPlugin;
  readonly clock: Clock;
  /** Called with each new credential, before any request gets it. */
  readonly adopt: (credential: PluginCredential) => Promise<void>;
}

/**
 * The credential of an exec plugin, kept until it expires or the API server rejects it,
 * as in client-go (plugin/pkg/client/auth/exec). Concurrent requests share one run.
 */
export class PluginCredentials {
  readonly #options: PluginCredentialsOptions;
  readonly #closing = new AbortController();
  #current: PluginCredential | undefined;
  #isInvalid = false;
  #running: Promise<void> | undefined;

  constructor(options: PluginCredentialsOptions) {
    this.#options = options;
  }

  /** @throws AgentError PLUGIN_FAILED, ABORTED */
  async ready(signal: AbortSignal): Promise<void> {
    if (this.#current !== undefined && !this.#isInvalid && !this.#isExpired(this.#current)) return;
    this.#running ??= this.#run();
    await unlessAborted(this.#running, signal);
  }

  /** Call this when the API server rejects the credential: the next request runs the plugin again. */
  invalidate(): void {
    this.#isInvalid = true;
  }

  /** Ends a running plugin, and wipes the credential. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running?.catch(() => undefined);
    this.#current?.[Symbol.dispose]();
  }

  #isExpired({ expiry }: PluginCredential): boolean {
    return expiry !== undefined && expiry < this.#options.clock.now();
  }

  async #run(): Promise<void> {
    try {
      const { adopt } = this.#options;
      const found = await runExecPlugin({ ...this.#options, signal: this.#closing.signal });
      try {
        await adopt(found);
      } catch (error) {
        found[Symbol.dispose]();
        throw error;
      }
      this.#current?.[Symbol.dispose]();
      this.#current = found;
      this.#isInvalid = false;
    } finally {
      this.#running = undefined;
    }
  }
}

/** Stops waiting when the signal fires. The work continues for other requests. */
async function unlessAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = (): void => {
    reject(new AgentError('ABORTED', 'the request was canceled', { cause: signal.reason }));
  };
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort);
  try {
    await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
