import type { AttemptId, EnrollerCommand, EnrollerReport } from '../core/enrollment.ts';

/**
 * What the enroller still has to answer, and what it holds a key for: as long as
 * there is something, it is not let go. Only the answer to the latest attempt ends an
 * enrollment: one that crossed its replacement would otherwise have the process, and
 * the key in it, dismissed under the new request.
 */
export class WorkInHand {
  readonly #looks = new Map<string, number>();
  readonly #enrollments = new Map<string, AttemptId>();
  #lookingUp = false;

  get isEmpty(): boolean {
    return this.#looks.size === 0 && this.#enrollments.size === 0 && !this.#lookingUp;
  }

  begin(command: EnrollerCommand): void {
    switch (command.type) {
      case 'inspect':
      case 'self-sign':
        this.#looks.set(command.name, (this.#looks.get(command.name) ?? 0) + 1);
        return;
      case 'enroll':
        this.#enrollments.set(command.name, command.attempt);
        return;
      case 'abandon':
        this.#enrollments.delete(command.name);
        return;
      case 'look-up-addresses':
        this.#lookingUp = true;
        return;
      default:
        command satisfies never;
    }
  }

  answered(report: EnrollerReport): void {
    switch (report.type) {
      case 'inspected':
      case 'inspection-failed':
        return this.#looked(report.name);
      case 'stored':
        return this.#enrolled(report);
      case 'failed':
        // A failure that can be resumed leaves the key in the enroller's hands.
        return report.resumable ? undefined : this.#enrolled(report);
      case 'addresses':
        if (report.final) this.#lookingUp = false;
        return;
      case 'addresses-failed':
        this.#lookingUp = false;
        return;
      default:
    }
  }

  clear(): void {
    this.#looks.clear();
    this.#enrollments.clear();
    this.#lookingUp = false;
  }

  #looked(name: string): void {
    const left = (this.#looks.get(name) ?? 0) - 1;
    if (left > 0) this.#looks.set(name, left);
    else this.#looks.delete(name);
  }

  #enrolled({ name, attempt }: { readonly name: string; readonly attempt: AttemptId }): void {
    if (this.#enrollments.get(name) === attempt) this.#enrollments.delete(name);
  }
}
