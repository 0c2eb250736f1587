import type { ApiRequestRecord, EnrollerNotice } from '../core/enroller-protocol.ts';
import { second } from '../core/instant.ts';
import type { Logger } from '../sys/log.ts';

/** What is counted of the enroller's connections to the API server. */
export interface ConnectionObserver {
  recordApiRequest(record: ApiRequestRecord): void;
  setClockSkew(ms: number): void;
}

/** Logs and counts what the enroller reports of its connection to the API server. */
export class ConnectionLog {
  readonly #logger: Logger;
  readonly #observer: ConnectionObserver;
  #skewed = false;

  constructor(options: { readonly logger: Logger; readonly observer: ConnectionObserver }) {
    this.#logger = options.logger;
    this.#observer = options.observer;
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
          remedy: `nodecertd adopt, or let client-certificate and client-key both name ${notice.pair}`,
        });
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

  /** From ten seconds on, some peer finds a new certificate "not yet valid". */
  #clockSkew(ms: number): void {
    this.#observer.setClockSkew(ms);
    const skewed = Math.abs(ms) > 10 * second;
    if (skewed === this.#skewed) return;
    this.#skewed = skewed;
    const seconds = Math.round(ms / second);
    if (!skewed) return this.#logger.log('clock_skew_over', { seconds });
    const remedy = 'check time synchronization on both sides: timedatectl';
    this.#logger.log('clock_skew', { seconds, remedy });
  }
}
