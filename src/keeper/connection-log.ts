import type { ApiRequestRecord, EnrollerNotice } from '../core/enroller-protocol.ts';
import type { Failure } from '../core/errors.ts';
import { second } from '../core/instant.ts';
import { findingEvent } from '../core/log-events.ts';
import type { Logger } from '../sys/log.ts';

export interface ConnectionObserver {
  recordApiRequest(record: ApiRequestRecord): void;
  setClockSkew(ms: number): void;
}

/** Logs and counts the enroller's notices about its connection to the API server. */
export class ConnectionLog {
  readonly #logger: Logger;
  readonly #observer: ConnectionObserver;
  #skewed = false;
  #kubeconfigFailure: Failure | undefined;

  constructor(options: { readonly logger: Logger; readonly observer: ConnectionObserver }) {
    this.#logger = options.logger;
    this.#observer = options.observer;
  }

  /** The reason that the kubelet cannot use the kubeconfig; undefined if it can. */
  get kubeconfigFailure(): Failure | undefined {
    return this.#kubeconfigFailure;
  }

  notice(notice: EnrollerNotice): void {
    switch (notice.type) {
      case 'api-request':
        return this.#apiRequest(notice);
      case 'clock-skew':
        return this.#clockSkew(notice.ms);
      case 'credential':
        return this.#logger.log('credential_chosen', { source: notice.source });
      case 'stale-kubeconfig':
        return this.#logger.log('kubeconfig_stale', {
          path: notice.path,
          remedy: `Run nodecertd adopt, or set client-certificate and client-key in the kubeconfig to ${notice.pair}`,
        });
      case 'kubeconfig':
        return this.#kubeconfig(notice);
      case 'discovery':
        return this.#logger.log('discovery_progress', { progress: notice.line });
      case 'discovered':
        return this.#discovered(notice);
      case 'identity-refused':
        return this.#logger.log('identity_refused', { error: notice.error });
      case 'insecure':
        return this.#logger.log('connection_insecure', { server: notice.server });
      default:
        return notice satisfies never;
    }
  }

  #apiRequest(record: ApiRequestRecord): void {
    const { verb, code, seconds } = record;
    this.#observer.recordApiRequest(record);
    this.#logger.log('api_request', { verb, code, seconds: Math.round(seconds * 1_000) / 1_000 });
  }

  #discovered({
    server,
    authorities,
    warnings,
  }: Extract<EnrollerNotice, { type: 'discovered' }>): void {
    const cas = authorities.map(
      ({ subject, pin, isPinned }) => `${subject} ${pin}${isPinned ? '' : ' (not pinned)'}`,
    );
    this.#logger.log('cluster_discovered', {
      server,
      cas,
      warnings: warnings.length === 0 ? undefined : warnings,
    });
  }

  #kubeconfig({ path, findings, failure }: Extract<EnrollerNotice, { type: 'kubeconfig' }>): void {
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

  /** With more than ten seconds of skew, some peers reject a new certificate as "not yet valid". */
  #clockSkew(ms: number): void {
    this.#observer.setClockSkew(ms);
    const skewed = Math.abs(ms) > 10 * second;
    if (skewed === this.#skewed) return;
    this.#skewed = skewed;
    const seconds = Math.round(ms / second);
    if (!skewed) return this.#logger.log('clock_skew_over', { seconds });
    const remedy = 'Check time synchronization on both sides: timedatectl';
    this.#logger.log('clock_skew', { seconds, remedy });
  }
}
