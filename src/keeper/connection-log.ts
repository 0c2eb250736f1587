import type { ApiRequestRecord, EnrollerReport } from '../core/enroller-protocol.ts';
import type { Failure } from '../core/errors.ts';
import { second } from '../core/instant.ts';
import type { Logger } from '../sys/log.ts';
import { findingEvent } from './finding-events.ts';

/** What is counted of the enroller's connections to the API server. */
export interface ConnectionObserver {
  recordApiRequest(record: ApiRequestRecord): void;
  setClockSkew(ms: number): void;
}

export type ConnectionReport = Extract<
  EnrollerReport,
  {
    readonly type:
      | 'api-request'
      | 'clock-skew'
      | 'credential'
      | 'stale-kubeconfig'
      | 'kubeconfig'
      | 'insecure';
  }
>;

/** Tells what the enroller meets on its way to the API server. Nothing is decided by it. */
export class ConnectionLog {
  readonly #logger: Logger;
  readonly #observer: ConnectionObserver;
  #skewed = false;
  #kubeconfigFailure: Failure | undefined;

  constructor(options: { readonly logger: Logger; readonly observer: ConnectionObserver }) {
    this.#logger = options.logger;
    this.#observer = options.observer;
  }

  /** Why the kubelet cannot use the kubeconfig, as last checked. */
  get kubeconfigFailure(): Failure | undefined {
    return this.#kubeconfigFailure;
  }

  report(report: ConnectionReport): void {
    switch (report.type) {
      case 'api-request':
        return this.#apiRequest(report);
      case 'clock-skew':
        return this.#clockSkew(report.ms);
      case 'credential':
        return this.#logger.log('credential_chosen', { source: report.source });
      case 'stale-kubeconfig':
        return this.#logger.log('kubeconfig_stale', {
          path: report.path,
          remedy: `nodecertd adopt, or let client-certificate and client-key both name ${report.pair}`,
        });
      case 'kubeconfig':
        return this.#kubeconfig(report);
      case 'insecure':
        return this.#logger.log('connection_insecure', { server: report.server });
      default:
        return report satisfies never;
    }
  }

  #apiRequest(record: ApiRequestRecord): void {
    const { verb, code, seconds } = record;
    this.#observer.recordApiRequest(record);
    this.#logger.log('api_request', { verb, code, seconds: Math.round(seconds * 1_000) / 1_000 });
  }

  #kubeconfig({
    path,
    findings,
    failure,
  }: Extract<ConnectionReport, { type: 'kubeconfig' }>): void {
    for (const { kind, path, detail } of findings) {
      this.#logger.log(findingEvent(kind), { path, detail });
    }
    const previous = this.#kubeconfigFailure;
    this.#kubeconfigFailure = failure;
    if (failure?.message === previous?.message) return;
    if (failure === undefined) return this.#logger.log('kubeconfig_usable', { path });
    const { code, message, remedy } = failure;
    this.#logger.log('kubeconfig_unusable', { path, code, error: message, remedy });
  }

  /** Ten seconds apart, certificates begin to look "not yet valid" to somebody. */
  #clockSkew(ms: number): void {
    this.#observer.setClockSkew(ms);
    const skewed = Math.abs(ms) > 10 * second;
    if (skewed === this.#skewed) return;
    this.#skewed = skewed;
    const seconds = Math.round(ms / second);
    if (!skewed) return this.#logger.log('clock_skew_over', { seconds });
    const remedy = 'check time synchronisation on both sides: timedatectl';
    this.#logger.log('clock_skew', { seconds, remedy });
  }
}
