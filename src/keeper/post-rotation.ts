import { join } from 'node:path';
import type { PairFacts } from '../core/certificate.ts';
import { isFollowed } from '../core/certificate-spec.ts';
import type { AgentConfig } from '../core/config.ts';
import type { Failure } from '../core/errors.ts';
import { describeError } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { goneBackFailure } from '../core/served.ts';
import type { CertificateStatus } from '../core/status.ts';
import { exposureOf } from '../sys/exposure.ts';
import type { Rollback } from '../core/rotation-state.ts';
import type { HookRunnerOptions, RotationPort } from './hook-runner.ts';
import { HookRunner } from './hook-runner.ts';

export interface PostRotationOptions extends Omit<HookRunnerOptions, 'spec' | 'path' | 'rotation'> {
  readonly config: AgentConfig;
  readonly rotation: (name: string) => RotationPort;
}

type Refusal = Failure & { readonly at: Instant };

/**
 * What follows the rotations of all certificates: hooks, and the look at what is
 * served. Loaded only where something of it is configured.
 */
export class PostRotation {
  readonly #options: PostRotationOptions;
  readonly #runners: ReadonlyMap<string, HookRunner>;
  /** Why nothing of it is done. */
  readonly #refusal: Refusal | undefined;

  private constructor(options: PostRotationOptions, refusal: Refusal | undefined) {
    const { config, rotation } = options;
    this.#options = options;
    this.#refusal = refusal;
    this.#runners = new Map(
      config.certificates.filter(isFollowed).map((spec) => {
        const path = join(config.certificateDirectory, `${spec.name}-current.pem`);
        const port = rotation(spec.name);
        return [spec.name, new HookRunner({ ...options, spec, path, rotation: port })];
      }),
    );
  }

  /**
   * Looks first at who may change the configuration: whoever may, decides what is run as
   * root. Rotations go on without their hooks then.
   */
  static async open(options: PostRotationOptions): Promise<PostRotation> {
    const { config, clock } = options;
    // Without a file there are no hooks but those of a test.
    const exposure = config.file === undefined ? undefined : await refusalOf(config.file);
    const after = new PostRotation(
      options,
      exposure && {
        code: 'HOOK_FAILED',
        message: `the hooks of the configuration are not run: ${exposure.what}`,
        remedy: `${exposure.remedy}, then: systemctl restart nodecertd`,
        at: clock.now(),
      },
    );
    after.#refuse();
    return after;
  }

  /** This agent has put it in place. */
  stored(name: string, pair: PairFacts): void {
    const runner = this.#runners.get(name);
    if (runner === undefined) return;
    if (this.#refusal === undefined) return runner.stored(pair);
    this.#options.journal.owe(name, pair.serial);
    this.#refuse();
  }

  /** The first look of this run has found it, and it is nothing new: what was owed for it is made up for. */
  found(name: string, pair: PairFacts): void {
    const { journal, logger } = this.#options;
    const owed = journal.owed(name);
    if (owed === undefined || !this.#runners.has(name)) return;
    // Somebody has put another pair there since, and it is for him to tell who uses it.
    if (owed !== pair.serial) return journal.settle(name, owed);
    logger.log('hooks_pending', { certificate: name, serial: pair.serial });
    this.stored(name, pair);
  }

  /** The rollback of an earlier run, if it is this pair that was rolled back to. */
  rollbackTo(name: string, pair: PairFacts): Rollback | undefined {
    const rollback = this.#options.journal.wentBack(name);
    if (rollback?.to !== pair.serial || !this.#runners.has(name)) return undefined;
    const { from, count, until } = rollback;
    return { pair, failure: goneBackFailure(name, from), count, until };
  }

  status(name: string): Pick<CertificateStatus, 'hooks' | 'served' | 'following'> {
    const refusal = this.#refusal;
    const status = this.#runners.get(name)?.status ?? {};
    if (refusal === undefined || status.hooks === undefined) return status;
    return { hooks: status.hooks.map((hook) => ({ ...hook, failure: refusal })) };
  }

  /** Settles when no hook runs any more. */
  async stop(): Promise<void> {
    await Promise.all([...this.#runners.values()].map((runner) => runner.stop()));
  }

  #refuse(): void {
    if (this.#refusal === undefined) return;
    const { message, remedy } = this.#refusal;
    const certificates = [...this.#runners.keys()];
    this.#options.logger.log('hooks_refused', { certificates, error: message, remedy });
  }
}

/** A file that cannot be looked at may be anybody's. */
async function refusalOf(file: string): Promise<{ what: string; remedy: string } | undefined> {
  try {
    return await exposureOf(file);
  } catch (error) {
    return {
      what: `${file} cannot be looked at: ${describeError(error)}`,
      remedy: `ls -l ${file}`,
    };
  }
}
