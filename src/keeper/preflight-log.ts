import type { DoctorFinding } from '../core/findings.ts';
import type { Logger } from '../sys/log.ts';
import type { EnrollerLink } from './enroller-link.ts';

/**
 * Has the enroller examine the node once per run, when it has nothing more urgent to
 * do, and tells what it found. Never asked again: an examination that takes the
 * enroller down must not do so for ever.
 */
export class PreflightLog {
  readonly #enroller: Pick<EnrollerLink, 'send'>;
  readonly #logger: Logger;
  #asked = false;
  #findings: readonly DoctorFinding[] | undefined;

  constructor(options: { readonly enroller: Pick<EnrollerLink, 'send'>; readonly logger: Logger }) {
    this.#enroller = options.enroller;
    this.#logger = options.logger;
  }

  /** Undefined before the examination is over. */
  get findings(): readonly DoctorFinding[] | undefined {
    return this.#findings;
  }

  /** Called whenever the certificates leave time for it. */
  quiet(): void {
    if (this.#asked) return;
    this.#asked = true;
    this.#enroller.send({ type: 'preflight' });
  }

  report(findings: readonly DoctorFinding[]): void {
    this.#findings = findings;
    for (const { id, severity, subject, what, why, remedy } of findings) {
      if (severity !== 'error' && severity !== 'warning') continue;
      this.#logger.log('preflight_finding', { id, severity, subject, finding: what, why, remedy });
    }
  }
}
