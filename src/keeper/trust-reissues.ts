import type { PairFacts } from '../core/certificate.ts';
import type { CertificateSpec } from '../core/certificate-spec.ts';
import type { TrustConfig } from '../core/config.ts';
import { formatInstant, second } from '../core/instant.ts';
import type { Instant } from '../core/instant.ts';
import { rotationFraction } from '../core/schedule.ts';
import type { TrustStatus } from '../core/status.ts';
import type { Reissue } from '../core/trust-reissue.ts';
import { reissueOf } from '../core/trust-reissue.ts';
import type { ReportedLeaf } from '../core/trust-report.ts';
import type { Clock } from '../sys/clock.ts';
import type { Logger } from '../sys/log.ts';

/** When the agent first found that the signer of each certificate uses another CA, by name. */
export type BehindTimes = Readonly<Record<string, Instant>>;

export interface TrustReissuesOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly behindSince: BehindTimes;
  /** Called after each change; must not throw. */
  readonly save: (behindSince: BehindTimes) => void;
}

/** What the re-issue needs from the configuration. */
export interface ReissueConfig {
  readonly trust: TrustConfig;
  readonly nodeName: string;
  readonly certificates: readonly CertificateSpec[];
}

/**
 * Decides when to request certificates again that an old CA issued. Remembers across restarts when
 * each certificate was first behind, so a restart causes no request.
 */
export class TrustReissues {
  readonly #options: TrustReissuesOptions;
  readonly #behindSince: Map<string, Instant>;
  /** The serial numbers of the certificates that the last report calls behind, by name. */
  #behind: ReadonlyMap<string, string> = new Map();
  #config: ReissueConfig | undefined;
  /** The last run of `trust sync` could not read the Node of this machine. */
  isNodeUnreadable = false;

  constructor(options: TrustReissuesOptions) {
    this.#options = options;
    this.#behindSince = new Map(Object.entries(options.behindSince));
  }

  /**
   * Without a configuration, no certificate is due, and the times are forgotten: in a later rollover
   * they would make every node request its certificates at once.
   */
  apply(config: ReissueConfig | undefined): void {
    this.#config = config;
    if (config === undefined) this.isNodeUnreadable = false;
    if (config !== undefined || this.#behindSince.size === 0) return;
    this.#behindSince.clear();
    this.#options.save({});
  }

  /**
   * A run of `trust sync` has ended.
   * @param pairs the key pairs at its start, by the name of the certificate
   */
  reported(leaves: readonly ReportedLeaf[], pairs: CurrentPairs): void {
    if (this.#config === undefined) return;
    const previous = this.#behind;
    const names = leaves.filter(({ isBehind }) => isBehind).map(({ name }) => name);
    this.#behind = new Map(
      [...pairs].flatMap(([name, { serial }]) => (names.includes(name) ? [[name, serial]] : [])),
    );
    this.#update();
    for (const [name, serial] of this.#behind) {
      const pair = pairs.get(name);
      if (pair !== undefined && previous.get(name) !== serial) this.#log(name, pair);
    }
  }

  /** Whether this certificate has to be requested now because the signer uses another CA. */
  isDue(name: string, pair: PairFacts): boolean {
    const reissue = this.#reissue(name, pair);
    if (reissue === undefined || reissue.kind === 'held') return false;
    return reissue.at <= this.#options.clock.now();
  }

  status(pairs: CurrentPairs): TrustStatus['reissues'] {
    return [...pairs].flatMap(([name, pair]) => {
      const reissue = this.#reissue(name, pair);
      return reissue === undefined ? [] : [{ name, ...reissue }];
    });
  }

  /** The times begin with the first report and end with the first one that no longer has the name. */
  #update(): void {
    const { clock, logger, save } = this.#options;
    const ended = [...this.#behindSince.keys()].filter((name) => !this.#behind.has(name));
    const began = [...this.#behind.keys()].filter((name) => !this.#behindSince.has(name));
    for (const name of ended) {
      this.#behindSince.delete(name);
      logger.log('issuer_behind_over', { certificate: name });
    }
    for (const name of began) this.#behindSince.set(name, clock.now());
    if (began.length + ended.length > 0) save(Object.fromEntries(this.#behindSince));
  }

  /** The new CA may have issued a pair that was stored after the report. */
  #reissue(name: string, pair: PairFacts): Reissue | undefined {
    const since = this.#behindSince.get(name);
    const spec = this.#config?.certificates.find((one) => one.name === name);
    if (since === undefined || this.#config === undefined || spec === undefined) return undefined;
    if (this.#behind.get(name) !== pair.serial) return undefined;
    const { trust, nodeName } = this.#config;
    return reissueOf({
      since,
      pair,
      // With the serial number, a rotation would move the first request.
      fraction: rotationFraction(nodeName, name, ''),
      spreadMs: trust.reissueSpreadSeconds * second,
      isHeld: trust.holdServing && spec.usages.includes('server auth'),
      now: this.#options.clock.now(),
    });
  }

  #log(name: string, pair: PairFacts): void {
    const { logger } = this.#options;
    const reissue = this.#reissue(name, pair);
    switch (reissue?.kind) {
      case undefined:
        return;
      case 'held':
        return logger.log('issuer_behind', { certificate: name, held: true });
      case 'scheduled':
        return logger.log('issuer_behind', { certificate: name, at: formatInstant(reissue.at) });
      case 'waiting-for-signer':
        return logger.log('waiting_for_signer', {
          certificate: name,
          retryAt: formatInstant(reissue.at),
        });
      default:
        reissue satisfies never;
    }
  }
}

/** By the name of the certificate. */
export type CurrentPairs = ReadonlyMap<string, PairFacts>;
