import type { EnrollerCommand, EnrollerReport } from '../core/enroller-protocol.ts';
import { formatDuration, minute, second } from '../core/instant.ts';
import type { Logger } from '../sys/log.ts';
import type {
  EnrollerChild,
  EnrollerLink,
  EnrollerListener,
  EnrollerLoss,
  Heartbeat,
  LastWords,
  LaunchEnroller,
} from './enroller-link.ts';
import { WorkInHand } from './work-in-hand.ts';

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
  readonly #work = new WorkInHand();
  /** Children that were told to end and have not done so yet. */
  readonly #leaving = new Map<EnrollerChild, Departure>();
  #child: EnrollerChild | undefined;
  #missed = 0;
  /** What the child said went wrong with itself, just before its end. */
  #lastWords: string | undefined;
  #stopped = false;
  #watchdog: NodeJS.Timeout | undefined;
  #lingering: NodeJS.Timeout | undefined;

  constructor(options: SupervisorOptions) {
    this.#options = { checkInterval: 10 * second, linger: second / 4, ...options };
  }

  /** Process id while an enroller runs. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  send(command: EnrollerCommand): void {
    // A process started now would outlive the agent.
    if (this.#stopped) return;
    // Nothing of the name can be held by a process that is not there.
    if (command.type === 'abandon' && this.#child === undefined) return;
    this.#child ??= this.#start();
    this.#work.begin(command);
    this.#child.send(command);
    this.#settle();
  }

  /** Ends the enroller for good; its work is abandoned. Settles when the process is gone. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#child !== undefined) this.#dismiss(this.#child);
    await Promise.all([...this.#leaving.values()].map(({ gone }) => gone));
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
    this.#lastWords = undefined;
    this.#watchdog = setInterval(() => this.#check(), this.#options.checkInterval);
    this.#options.logger.log('enroller_started', { pid: child.pid });
    this.#options.listener.onStarted();
    return child;
  }

  #receive(message: EnrollerReport | Heartbeat | LastWords): void {
    this.#missed = 0;
    if (message.type === 'alive') return;
    if (message.type === 'crashed') {
      this.#lastWords = message.error;
      return;
    }
    this.#work.answered(message);
    this.#options.listener.onReport(message);
    this.#settle();
  }

  /** Lets the process go once nothing is in hand and nothing has followed. */
  #settle(): void {
    clearTimeout(this.#lingering);
    if (!this.#work.isEmpty) return;
    this.#lingering = setTimeout(() => this.#release(), this.#options.linger);
  }

  #release(): void {
    if (this.#child === undefined) return;
    this.#dismiss(this.#child);
    this.#options.listener.onFinished();
  }

  /** A child that does not end by itself holds keys that nobody needs any more, and would hold this process too. */
  #dismiss(child: EnrollerChild): void {
    this.#forget();
    const { promise: gone, resolve } = Promise.withResolvers<void>();
    const kill = setTimeout(() => child.kill(), patience);
    // Not even SIGKILL ends a process that the kernel does not let go.
    const giveUp = setTimeout(resolve, 2 * patience);
    const settle = (): void => {
      clearTimeout(kill);
      clearTimeout(giveUp);
      resolve();
    };
    this.#leaving.set(child, { gone, settle });
    child.disconnect();
  }

  /**
   * Counts looks, not time: after a suspended night the first look finds nothing
   * new either, and must not kill a healthy process.
   */
  #check(): void {
    const child = this.#child;
    this.#missed += 1;
    if (child === undefined) return;
    const how = this.#missed >= 3 ? 'gave no sign of life' : this.#owes();
    if (how === undefined) return;
    child.kill();
    const message = `the enroller (${named(child)}) ${how} and was killed`;
    this.#lose({ code: 'ENROLLER_HUNG', message });
  }

  /** Its event loop runs and its work does not: a file system that does not answer holds one call for ever. */
  #owes(): string | undefined {
    const { checkInterval } = this.#options;
    const what = this.#work.overdue(Math.ceil(answerLimit / checkInterval));
    if (what === undefined) return undefined;
    return `has owed an answer (${what}) for ${formatDuration(answerLimit)}`;
  }

  #ended(child: EnrollerChild | undefined, how: string): void {
    if (child === undefined || child !== this.#child) {
      if (child !== undefined) this.#hasLeft(child);
      this.#options.logger.log('enroller_stopped', { pid: child?.pid });
      return;
    }
    const message = `the enroller (${named(child)}) ended unexpectedly: ${how}`;
    this.#lose(
      this.#lastWords === undefined
        ? { code: 'ENROLLER_LOST', message }
        : { code: 'INTERNAL', message: `${message}: ${this.#lastWords}` },
    );
  }

  #hasLeft(child: EnrollerChild): void {
    this.#leaving.get(child)?.settle();
    this.#leaving.delete(child);
  }

  #lose(loss: EnrollerLoss): void {
    this.#forget();
    this.#options.listener.onLost(loss);
  }

  #forget(): void {
    clearInterval(this.#watchdog);
    clearTimeout(this.#lingering);
    this.#child = undefined;
    this.#work.clear();
  }
}

interface Departure {
  /** Settles when the process has ended, or will not. */
  readonly gone: Promise<void>;
  readonly settle: () => void;
}

/** Above what the slowest key and a request at its deadline take together, and above the time that servers may have. */
const answerLimit = 5 * minute;

/** Milliseconds between being told to end and being killed. */
const patience = 2 * second;

function named({ pid }: EnrollerChild): string {
  return pid === undefined ? 'not started' : `pid ${pid}`;
}
