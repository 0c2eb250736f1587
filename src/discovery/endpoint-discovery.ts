import { AgentError, hasCode } from '../core/errors.ts';
import type { ErrorCode } from '../core/errors.ts';
import type { HostPort } from '../core/host-port.ts';
import { formatHostPort } from '../core/host-port.ts';
import { formatDuration, second } from '../core/instant.ts';
import type { AttemptOutcome } from './attempt.ts';
import { Attempt } from './attempt.ts';
import type { DiscoveredCluster, DiscoveryContext, DiscoveryRequest } from './discovery.ts';
import { isTransient, nextDelay } from './retry.ts';
import { nothingSigned, notSigned, withoutSigning } from './token-check.ts';

/** kube-controller-manager signs cluster-info for a new token within five seconds. */
const signingMs = 10 * second;

/** While the token is not signed. */
const signaturePoll = 5 * second;

/** An API server that has just started may return these, until it has read its roles. */
const onceMore: readonly ErrorCode[] = ['API_UNAUTHORIZED', 'API_FORBIDDEN'];

type Unsigned = Extract<AttemptOutcome, { readonly kind: 'unsigned' }>;

export interface EndpointOptions {
  readonly endpoint: HostPort;
  readonly request: DiscoveryRequest;
  /** If the time for the discovery is over, its signal fires with API_TIMEOUT. */
  readonly context: DiscoveryContext;
  /** Called with the endpoint in the message when an attempt fails. */
  readonly onFailure: (failure: AgentError) => void;
}

/**
 * Tries one endpoint until it leads to the cluster, or cannot, or the time is over.
 * @throws AgentError as discoverCluster, with the endpoint in its message
 */
export function discoverThrough(options: EndpointOptions): Promise<DiscoveredCluster> {
  return new EndpointDiscovery(options).run();
}

class EndpointDiscovery {
  readonly #options: EndpointOptions;
  readonly #label: string;
  /** The reason why no attempt has succeeded yet. */
  #last: AgentError | undefined;
  #failures = 0;
  #refusals = 0;
  /** On the monotonic clock: when cluster-info was first signed for other tokens only. */
  #unsignedSince: number | undefined;
  #hasAnnouncedWait = false;

  constructor(options: EndpointOptions) {
    this.#options = options;
    this.#label = formatHostPort(options.endpoint);
  }

  async run(): Promise<DiscoveredCluster> {
    const { signal } = this.#options.context;
    try {
      for (;;) {
        const cluster = await this.#tryOnce();
        if (cluster !== undefined) return cluster;
      }
    } catch (error) {
      throw this.#finalError(error, signal);
    }
  }

  /** Undefined after a wait for the next attempt. */
  async #tryOnce(): Promise<DiscoveredCluster | undefined> {
    const { endpoint, request, context } = this.#options;
    try {
      const outcome = await new Attempt(endpoint, request, context).run();
      if (outcome.kind === 'discovered') return outcome.cluster;
      await this.#waitForSignature(outcome);
    } catch (error) {
      if (!(error instanceof AgentError) || !this.#mayPass(error)) throw error;
      await this.#waitAfter(error);
    }
    return undefined;
  }

  /** True if another attempt soon may not end with this failure. */
  #mayPass(failure: AgentError): boolean {
    const { code } = failure;
    if (onceMore.includes(code)) this.#refusals += 1;
    return isTransient(failure) || (onceMore.includes(code) && this.#refusals === 1);
  }

  async #waitAfter(failure: AgentError): Promise<void> {
    const delay = Math.max(this.#nextDelay(), failure.retryAfterMs ?? 0);
    this.#note(failure);
    this.#say(`${failure.message}; next attempt in ${formatDuration(delay)}`);
    await this.#sleep(delay);
  }

  async #waitForSignature(outcome: Unsigned): Promise<void> {
    const { token } = this.#options.request;
    const { clock } = this.#options.context;
    if (outcome.others === 0) {
      this.#unsignedSince = undefined;
      this.#note(nothingSigned());
      this.#announceWait('cluster-info is not signed yet; waiting for a signature');
      await this.#sleep(this.#nextDelay());
      return;
    }
    this.#unsignedSince ??= clock.elapsed();
    const left = this.#unsignedSince + signingMs - clock.elapsed();
    const failure = notSigned(token.id, outcome.others);
    if (left <= 0) throw (await outcome.tryToken()) ? withoutSigning(token.id) : failure;
    this.#note(failure);
    this.#announceWait(`cluster-info is not signed for token ${token.id} yet; waiting 10s`);
    await this.#sleep(Math.min(left, signaturePoll));
  }

  #announceWait(line: string): void {
    if (!this.#hasAnnouncedWait) this.#say(line);
    this.#hasAnnouncedWait = true;
  }

  #nextDelay(): number {
    const delay = nextDelay(this.#failures);
    this.#failures += 1;
    return delay;
  }

  #note(failure: AgentError): void {
    this.#last = failure;
    this.#options.onFailure(failure.withMessage(`${this.#label}: ${failure.message}`));
  }

  #say(line: string): void {
    this.#options.context.progress(`${this.#label}: ${line}`);
  }

  async #sleep(ms: number): Promise<void> {
    const { clock, signal } = this.#options.context;
    await clock.sleep(ms, signal);
  }

  #finalError(error: unknown, signal: AbortSignal): unknown {
    if (hasCode(signal.reason, 'API_TIMEOUT')) return this.#timeout();
    if (!(error instanceof AgentError) || signal.aborted) return error;
    const failure = error.withMessage(`${this.#label}: ${error.message}`);
    this.#options.onFailure(failure);
    return failure;
  }

  #timeout(): AgentError {
    const time = formatDuration(this.#options.request.timeoutMs);
    const last = this.#last ?? new AgentError('API_TIMEOUT', 'no complete response');
    return last.withMessage(`${this.#label}: ${last.message}; gave up after ${time}`);
  }
}
