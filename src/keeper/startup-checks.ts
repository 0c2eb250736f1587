import type { DoctorFinding } from '../core/findings.ts';
import type { Logger } from '../sys/log.ts';
import type { EnrollerLink } from './enroller-link.ts';

/**
 * Requests the preflight checks once per run, and logs the findings. Never repeats them, because
 * checks that crash the enroller must not crash it in a loop.
 */
export class StartupChecks {
  readonly #enroller: Pick<EnrollerLink, 'request'>;
  readonly #logger: Logger;
  #started = false;
  #findings: readonly DoctorFinding[] | undefined;

  constructor(options: {
    readonly enroller: Pick<EnrollerLink, 'request'>;
    readonly logger: Logger;
  }) {
    this.#enroller = options.enroller;
    this.#logger = options.logger;
  }

  /** Undefined until the checks have finished. */
  get findings(): readonly DoctorFinding[] | undefined {
    return this.#findings;
  }

  runOnce(): void {
    if (this.#started) return;
    this.#started = true;
    this.#enroller.request({ type: 'preflight' }, (reply) => {
      if (reply.type === 'preflight') this.#finished(reply.findings);
    });
  }

  #finished(findings: readonly DoctorFinding[]): void {
    this.#findings = findings;
    for (const { id, severity, subject, what, why, remedy } of findings) {
      if (severity !== 'error' && severity !== 'warning') continue;
      this.#logger.log('preflight_finding', { id, severity, subject, finding: what, why, remedy });
    }
  }
}
