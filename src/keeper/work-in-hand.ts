import type { AttemptId, EnrollerCommand, EnrollerReport } from '../core/enroller-protocol.ts';

type EnrollmentReport = Extract<EnrollerReport, { readonly attempt: AttemptId }>;

interface Work {
  /** Answers still to come; one for anything but looks. */
  readonly answers: number;
  /** The latest attempt, where it is an enrollment. */
  readonly attempt?: AttemptId;
  /** The next word is somebody else's: an approver's, a signer's, the Node's, or the keeper's own. */
  readonly waits: boolean;
  /** A request stands and is not decided: taken up again, it waits without another word. */
  readonly undecided: boolean;
  /** Looks that found no answer where the enroller itself owes one. */
  readonly silence: number;
}

const begun: Work = { answers: 1, waits: false, undecided: false, silence: 0 };

/**
 * What the enroller still has to answer, and what it holds a key for: as long as
 * there is something, it is not let go. Only the answer to the latest attempt ends an
 * enrollment: one that crossed its replacement would otherwise have the process, and
 * the key in it, dismissed under the new request.
 */
export class WorkInHand {
  readonly #works = new Map<string, Work>();

  get isEmpty(): boolean {
    return this.#works.size === 0;
  }

  begin(command: EnrollerCommand): void {
    const what = nameOf(command);
    const known = this.#works.get(what);
    switch (command.type) {
      case 'inspect':
      case 'self-sign':
        return this.#set(what, { ...begun, answers: (known?.answers ?? 0) + 1 });
      case 'enroll': {
        const undecided = known?.undecided === true;
        return this.#set(what, { ...begun, attempt: command.attempt, undecided, waits: undecided });
      }
      case 'abandon':
        return void this.#works.delete(what);
      case 'look-up-addresses':
      case 'check-served':
      case 'roll-back':
      case 'preflight':
        return this.#set(what, begun);
      default:
        command satisfies never;
    }
  }

  answered(report: EnrollerReport): void {
    switch (report.type) {
      case 'inspected':
      case 'inspection-failed':
        return this.#looked(`look ${report.name}`);
      case 'addresses':
        return report.final
          ? void this.#works.delete(lookUp)
          : this.#set(lookUp, { ...begun, waits: true });
      case 'addresses-failed':
        return void this.#works.delete(lookUp);
      case 'served':
        return void this.#works.delete(`check ${report.name}`);
      case 'rolled-back':
        return void this.#works.delete(`way back ${report.name}`);
      case 'preflight':
        return void this.#works.delete(examination);
      default:
        if ('attempt' in report) this.#enrolled(report);
    }
  }

  /**
   * Called at even intervals: what the enroller itself has owed an answer for, for
   * more than `limit` of them. Counted and not timed: a suspended night is one.
   */
  overdue(limit: number): string | undefined {
    for (const [what, work] of this.#works) {
      if (work.waits) continue;
      this.#set(what, { ...work, silence: work.silence + 1 });
      if (work.silence >= limit) return what;
    }
    return undefined;
  }

  clear(): void {
    this.#works.clear();
  }

  #looked(what: string): void {
    const left = (this.#works.get(what)?.answers ?? 0) - 1;
    if (left > 0) this.#set(what, { ...begun, answers: left });
    else this.#works.delete(what);
  }

  #enrolled(report: EnrollmentReport): void {
    const what = `enrollment ${report.name}`;
    const known = this.#works.get(what);
    if (known === undefined || known.attempt !== report.attempt) return;
    switch (report.type) {
      case 'requested':
      case 'approved':
      case 'trouble':
      case 'calm':
        return this.#set(what, { ...known, waits: true, undecided: true, silence: 0 });
      case 'issued':
        return this.#set(what, { ...known, waits: false, undecided: false, silence: 0 });
      case 'failed':
        if (report.resumable) return this.#set(what, { ...known, waits: true, silence: 0 });
        return void this.#works.delete(what);
      case 'stored':
        return void this.#works.delete(what);
      default:
        report satisfies never;
    }
  }

  #set(what: string, work: Work): void {
    this.#works.set(what, work);
  }
}

const lookUp = 'look-up of addresses';
const examination = 'examination of the node';

function nameOf(command: EnrollerCommand): string {
  switch (command.type) {
    case 'inspect':
    case 'self-sign':
      return `look ${command.name}`;
    case 'enroll':
    case 'abandon':
      return `enrollment ${command.name}`;
    case 'check-served':
      return `check ${command.name}`;
    case 'roll-back':
      return `way back ${command.name}`;
    case 'look-up-addresses':
      return lookUp;
    case 'preflight':
      return examination;
    default:
      return command satisfies never;
  }
}
