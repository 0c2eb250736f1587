import type { PairFacts } from '../core/certificate.ts';
import type { Failure } from '../core/errors.ts';
import { describeError } from '../core/errors.ts';
import type { HookedPair } from '../core/hooks.ts';
import type { Instant } from '../core/instant.ts';
import { rolledBackFailure } from '../core/served.ts';
import type { CertificateStatus } from '../core/status.ts';
import { exposureOf } from '../sys/exposure.ts';
import type { Rollback } from '../core/rotation-state.ts';
import type { HookRunnerOptions, HookTarget } from './hook-runner.ts';
import { HookRunner } from './hook-runner.ts';

export interface PostRotationOptions extends Omit<HookRunnerOptions, 'target'> {
  /** The configuration file; absent only in tests. */
  readonly file?: string | undefined;
  readonly targets: readonly HookTarget[];
}

type Refusal = Failure & { readonly at: Instant };

/**
 * Hooks and checks of the served certificate, for several targets. The keeper loads this file
 * only if one of these is configured.
 */
export class PostRotation {
  readonly #options: PostRotationOptions;
  readonly #runners: ReadonlyMap<string, HookRunner>;
  /** The reason that hooks and checks are disabled; undefined if they are enabled. */
  readonly #refusal: Refusal | undefined;

  private constructor(options: PostRotationOptions, refusal: Refusal | undefined) {
    this.#options = options;
    this.#refusal = refusal;
    this.#runners = new Map(
      options.targets.map((target) => [target.name, new HookRunner({ ...options, target })]),
    );
  }

  /**
   * Anyone who can write the configuration file can run commands as root, so hooks stay
   * disabled until its permissions are fixed. Rotation continues.
   */
  static async open(options: PostRotationOptions): Promise<PostRotation> {
    const { file, clock } = options;
    const exposure = file === undefined ? undefined : await refusalOf(file);
    const postRotation = new PostRotation(
      options,
      exposure && {
        code: 'HOOK_FAILED',
        message: `hooks are disabled: ${exposure.what}`,
        remedy: `${exposure.remedy}, then: systemctl restart nodecertd`,
        at: clock.now(),
      },
    );
    postRotation.#refuse();
    return postRotation;
  }

  /** This agent has linked the pair, or renewed the certificates. */
  stored(name: string, pair: HookedPair): void {
    const runner = this.#runners.get(name);
    if (runner === undefined) return;
    if (this.#refusal === undefined) return runner.stored(pair);
    this.#options.journal.addPending(name, pair);
    this.#refuse();
  }

  /** The first inspection of this run found this pair. Runs its hooks if they are pending. */
  found(name: string, pair: HookedPair): void {
    const { journal, logger } = this.#options;
    const pending = journal.pending(name);
    if (pending === undefined || !this.#runners.has(name)) return;
    // Another program replaced the pair, and must reload the servers itself.
    if (pending !== pair.serial) return journal.clearPending(name, pending);
    logger.log('hooks_pending', { certificate: name, serial: pair.serial });
    this.stored(name, pair);
  }

  /** The rollback of an earlier run to this pair; undefined if there was none. */
  rollbackTo(name: string, pair: PairFacts): Rollback | undefined {
    const rollback = this.#options.journal.rollback(name);
    if (rollback?.to !== pair.serial || !this.#runners.has(name)) return undefined;
    const { from, count, until } = rollback;
    return { pair, failure: rolledBackFailure(name, from), count, until };
  }

  status(name: string): Pick<CertificateStatus, 'hooks' | 'served' | 'following'> {
    const refusal = this.#refusal;
    const status = this.#runners.get(name)?.status ?? {};
    if (refusal === undefined || status.hooks === undefined) return status;
    return { hooks: status.hooks.map((hook) => ({ ...hook, failure: refusal })) };
  }

  /** Resolves when no hook is running. */
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

/** Anyone might be able to write a file that cannot be checked, so hooks stay disabled. */
async function refusalOf(file: string): Promise<{ what: string; remedy: string } | undefined> {
  try {
    return await exposureOf(file);
  } catch (error) {
    return {
      what: `${file} cannot be checked: ${describeError(error)}`,
      remedy: `Check the file: ls -l ${file}`,
    };
  }
}
