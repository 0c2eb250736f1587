import type { EnrollerCommand, EnrollerReport } from '../core/enrollment.ts';
import { second } from '../core/instant.ts';
import type { Logger } from '../sys/log.ts';
import type {
  EnrollerChild,
  EnrollerLink,
  EnrollerListener,
  EnrollerLoss,
  Heartbeat,
  LaunchEnroller,
} from './enroller-link.ts';

export interface SupervisorOptions {
  readonly launch: LaunchEnroller;
  readonly listener: EnrollerListener;
  readonly logger: Logger;
  /** Milliseconds between two looks for a sign of life; three in vain end the process. */
  readonly checkInterval?: number;
  /** Milliseconds the enroller may idle: the next command often follows at once. */
  readonly linger?: number;
}

/**
 * Starts the enroller when there is something for it to do, lets it go when nothing
 * is left, and notices when it dies or hangs. Everything that a key could be in
 * therefore lives only as long as a piece of work.
 */
export class EnrollerSupervisor implements EnrollerLink {
  readonly #options: Required<SupervisorOptions>;
  /** Work the child has in hand, by what it is: answers expected or keys held. */
  readonly #work = new Map<string, number>();
  #child: EnrollerChild | undefined;
  #missed = 0;
  #watchdog: NodeJS.Timeout | undefined;
  #lingering: NodeJS.Timeout | undefined;
  #exited: (() => void) | undefined;

  constructor(options: SupervisorOptions) {
    this.#options = { checkInterval: 10 * second, linger: second / 4, ...options };
  }

  /** Process id while an enroller runs. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  send(command: EnrollerCommand): void {
    // Nothing of the name can be held by a process that is not there.
    if (command.type === 'abandon' && this.#child === undefined) return;
    this.#child ??= this.#start();
    this.#track(command);
    this.#child.send(command);
    this.#settle();
  }

  /** Ends the enroller; its work is abandoned. Settles when the process is gone. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    const gone = new Promise<void>((resolve) => {
      this.#exited = resolve;
    });
    this.#work.clear();
    child.disconnect();
    const impatient = setTimeout(() => child.kill(), 2 * second);
    await gone;
    clearTimeout(impatient);
  }

  #start(): EnrollerChild {
    let child: EnrollerChild | undefined;
    child = this.#options.launch({
      onMessage: (message) => {
        if (child === this.#child) this.#receive(message);
      },
      onExit: (how) => this.#ended(child, how),
    });
    this.#missed = 0;
    this.#watchdog = setInterval(() => this.#check(), this.#options.checkInterval);
    this.#options.logger.log('enroller_started', { pid: child.pid });
    this.#options.listener.onStarted();
    return child;
  }

  #receive(message: EnrollerReport | Heartbeat): void {
    this.#missed = 0;
    if (message.type === 'alive') return;
    const key = answered(message);
    if (key !== undefined) this.#count(key, -1);
    this.#options.listener.onReport(message);
    this.#settle();
  }

  #track(command: EnrollerCommand): void {
    switch (command.type) {
      case 'inspect':
      case 'self-sign':
        return this.#count(`inspect ${command.name}`, 1);
      case 'enroll':
        return void this.#work.set(`enroll ${command.name}`, 1);
      case 'abandon':
        return void this.#work.delete(`enroll ${command.name}`);
      case 'look-up-addresses':
        return void this.#work.set('addresses', 1);
      default:
        return command satisfies never;
    }
  }

  #count(key: string, change: number): void {
    const left = (this.#work.get(key) ?? 0) + change;
    if (left > 0) this.#work.set(key, left);
    else this.#work.delete(key);
  }

  /** Lets the process go once nothing is in hand and nothing has followed. */
  #settle(): void {
    clearTimeout(this.#lingering);
    if (this.#work.size > 0) return;
    this.#lingering = setTimeout(() => this.#release(), this.#options.linger);
  }

  #release(): void {
    const child = this.#child;
    if (child === undefined) return;
    clearInterval(this.#watchdog);
    this.#child = undefined;
    child.disconnect();
    this.#options.listener.onFinished();
  }

  /**
   * Counts looks, not time: after a suspended night the first look finds nothing
   * new either, and must not kill a healthy process.
   */
  #check(): void {
    this.#missed += 1;
    if (this.#missed < 3) return;
    const { pid } = this.#child ?? {};
    const message = `the enroller (pid ${pid}) gave no sign of life and was killed`;
    this.#child?.kill();
    this.#lose({ code: 'ENROLLER_HUNG', message });
  }

  #ended(child: EnrollerChild | undefined, how: string): void {
    this.#exited?.();
    if (child === undefined || child !== this.#child) {
      this.#options.logger.log('enroller_stopped', { pid: child?.pid });
      return;
    }
    const message = `the enroller (pid ${child.pid}) ended unexpectedly: ${how}`;
    this.#lose({ code: 'ENROLLER_LOST', message });
  }

  #lose(loss: EnrollerLoss): void {
    clearInterval(this.#watchdog);
    clearTimeout(this.#lingering);
    this.#child = undefined;
    this.#work.clear();
    this.#options.listener.onLost(loss);
  }
}

/** The piece of work that a report ends; a failure that can be resumed leaves the key in the enroller's hands. */
function answered(report: EnrollerReport): string | undefined {
  switch (report.type) {
    case 'inspected':
    case 'inspection-failed':
      return `inspect ${report.name}`;
    case 'stored':
      return `enroll ${report.name}`;
    case 'failed':
      return report.resumable ? undefined : `enroll ${report.name}`;
    case 'addresses':
      return report.final ? 'addresses' : undefined;
    case 'addresses-failed':
      return 'addresses';
    default:
      return undefined;
  }
}
