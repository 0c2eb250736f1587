import type { CertificateSpec } from '../../../src/core/certificate-spec.ts';
import type { PairFacts } from '../../../src/core/certificate.ts';
import type { TrustConfig } from '../../../src/core/config.ts';
import type { Instant } from '../../../src/core/instant.ts';
import {
  ownNodeInterval,
  signerSearchInterval,
  trustSyncInterval,
} from '../../../src/core/timing.ts';
import { TrustReissues } from '../../../src/keeper/trust-reissues.ts';
import type { Logger } from '../../../src/sys/log.ts';
import { trustDefaults } from '../../support/trust-defaults.ts';
import type { World } from './world.ts';

export interface TrustModelOptions {
  readonly world: World;
  readonly nodeName: string;
  readonly certificates: readonly CertificateSpec[];
  /** The current pairs, by the name of the certificate. */
  readonly pairs: () => ReadonlyMap<string, PairFacts>;
  /** A run has ended. */
  readonly onChange: () => void;
}

/**
 * The runs of `trust sync` on one node, as requests and results without files, with the agent's
 * real decisions about re-issued certificates.
 */
export class TrustModel {
  readonly #options: TrustModelOptions;
  readonly #reissues: TrustReissues;
  /** When this node last read its Node, and when it last found out which CA the signers use. */
  #nodeAt: Instant = -Infinity;
  #searchedAt: Instant = -Infinity;

  constructor(options: TrustModelOptions) {
    this.#options = options;
    const { world, nodeName, certificates } = options;
    this.#reissues = new TrustReissues({
      clock: { ...unusedClock, now: () => world.queue.now() },
      logger: silent,
      behindSince: {},
      save: () => undefined,
    });
    this.#reissues.apply({ trust, nodeName, certificates });
  }

  #request(count: number): boolean {
    const { cluster } = this.#options.world;
    return Array.from({ length: count }, () => cluster.request()).every(Boolean);
  }

  /** Runs at the start of the agent, and then at the real interval. */
  start(): void {
    this.#runAt(this.#options.world.queue.now());
  }

  isDue(name: string, pair: PairFacts): boolean {
    return this.#reissues.isDue(name, pair);
  }

  /** When the next certificate is requested again. */
  get wake(): Instant {
    const { pairs } = this.#options;
    const times = this.#reissues
      .status(pairs())
      .map((one) => (one.kind === 'held' ? Infinity : one.at));
    return Math.min(Infinity, ...times);
  }

  #runAt(at: Instant): void {
    this.#options.world.queue.at(at, () => this.#run());
  }

  #run(): void {
    const { world, pairs, onChange } = this.#options;
    const { cluster, queue, random } = world;
    const now = queue.now();
    this.#runAt(now + trustSyncInterval(random()));
    if (!this.#request(requestsPerRun)) return;
    if (now - this.#nodeAt >= ownNodeInterval && this.#request(1)) this.#nodeAt = now;
    if (now - this.#searchedAt >= signerSearchInterval && this.#request(requestsPerSearch)) {
      this.#searchedAt = now;
    }
    const current = new Map(pairs());
    const leaves = [...current].map(([name, { storedAt }]) => {
      return { name, path: '', isBehind: cluster.isBehind(storedAt, this.#searchedAt) };
    });
    this.#reissues.reported(leaves, current);
    onChange();
  }
}

/** The list of ClusterTrustBundles, and cluster-info. */
const requestsPerRun = 2;
/** A list of CSRs for each of the two signers. */
const requestsPerSearch = 2;

const trust: TrustConfig = trustDefaults;

const silent: Logger = { log: () => undefined };

const unusedClock = {
  elapsed: () => 0,
  sleep: () => Promise.reject(new Error('the simulation does not sleep')),
};
