import type {
  CrashReport,
  EnrollerReplies,
  EnrollerReply,
  EnrollerReport,
  EnrollerRequest,
  Heartbeat,
} from '../core/enroller-protocol.ts';
import type { ErrorCode } from '../core/errors.ts';
import { formatDuration, minute, second } from '../core/instant.ts';
import { remedies } from '../core/remedies.ts';
import type { Logger } from '../sys/log.ts';
import type {
  EnrollerChild,
  EnrollerLink,
  EnrollerListener,
  LaunchEnroller,
  Lost,
} from './enroller-link.ts';
import { PendingRequests } from './pending-requests.ts';

export interface SupervisorOptions {
  readonly launch: LaunchEnroller;
  readonly listener: EnrollerListener;
  readonly logger: Logger;
  /** Milliseconds between two checks for a sign of life; the third failed one ends the process. */
  readonly checkInterval?: number;
  /** Milliseconds that the enroller may idle, because the next request often follows at once. */
  readonly idleTime?: number;
}

/**
 * Starts the enroller when there is something for it to do, dismisses it when nothing is
 * left, and notices when it dies or hangs. So no key lives longer than the work it is for.
 */
export class EnrollerSupervisor implements EnrollerLink {
  readonly #options: Required<SupervisorOptions>;
  readonly #requests = new PendingRequests();
  /** Children that were dismissed and have not ended yet. */
  readonly #dismissed = new Map<EnrollerChild, Departure>();
  #child: EnrollerChild | undefined;
  #missedChecks = 0;
  /** The bug that the child reported just before its end. */
  #crash: string | undefined;
  #stopped = false;
  #watchdog: NodeJS.Timeout | undefined;
  #idleTimer: NodeJS.Timeout | undefined;

  constructor(options: SupervisorOptions) {
    this.#options = { checkInterval: 10 * second, idleTime: second / 4, ...options };
  }

  /** Process id while an enroller runs. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  request<T extends EnrollerRequest['type']>(
    request: Extract<EnrollerRequest, { readonly type: T }>,
    onReply: (reply: EnrollerReplies[T] | Lost) => void,
  ): void {
    // A process started now would outlive the agent.
    if (this.#stopped) return;
    this.#child ??= this.#start();
    // The table delivers only replies to this request, and the protocol pairs them by type.
    const id = this.#requests.open(request, onReply as (reply: EnrollerReply | Lost) => void);
    this.#child.send({ ...request, id });
    this.#dismissWhenIdle();
  }

  abandon(name: string): void {
    // Without a process there is no key to forget.
    if (this.#child === undefined) return;
    this.#requests.supersede(name);
    this.#child.send({ type: 'abandon', name });
    this.#dismissWhenIdle();
  }

  /** Ends the enroller for good and abandons its work. Settles when the process is gone. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#child !== undefined) this.#dismiss(this.#child);
    await Promise.all([...this.#dismissed.values()].map(({ gone }) => gone));
  }

  #start(): EnrollerChild {
    let child: EnrollerChild | undefined;
    child = this.#options.launch({
      onMessage: (message) => {
        if (child === this.#child) this.#receive(message);
      },
      onExit: (how) => this.#ended(child, how),
    });
    this.#missedChecks = 0;
    this.#crash = undefined;
    this.#watchdog = setInterval(() => this.#check(), this.#options.checkInterval);
    this.#options.logger.log('enroller_started', { pid: child.pid });
    this.#options.listener.onStarted();
    return child;
  }

  #receive(message: EnrollerReport | Heartbeat | CrashReport): void {
    this.#missedChecks = 0;
    if (message.type === 'alive') return;
    if (message.type === 'crashed') {
      this.#crash = message.error;
      return;
    }
    const { listener } = this.#options;
    if (!('id' in message)) return listener.onNotice(message);
    this.#requests.deliver(message.id, message);
    listener.onChange();
    this.#dismissWhenIdle();
  }

  /** Dismisses the process once no request is pending and none has followed. */
  #dismissWhenIdle(): void {
    clearTimeout(this.#idleTimer);
    if (!this.#requests.isEmpty) return;
    this.#idleTimer = setTimeout(() => {
      if (this.#child === undefined) return;
      this.#dismiss(this.#child);
      this.#options.listener.onFinished();
    }, this.#options.idleTime);
  }

  /** A child that does not end by itself holds keys that nothing needs, and would keep this process alive. */
  #dismiss(child: EnrollerChild): void {
    this.#forget();
    const { promise: gone, resolve } = Promise.withResolvers<void>();
    const kill = setTimeout(() => child.kill(), gracePeriod);
    // Not even SIGKILL ends a process that hangs in the kernel.
    const giveUp = setTimeout(resolve, 2 * gracePeriod);
    const settle = (): void => {
      clearTimeout(kill);
      clearTimeout(giveUp);
      resolve();
    };
    this.#dismissed.set(child, { gone, settle });
    child.disconnect();
  }

  /**
   * Counts checks, not time: after a suspended night the first check finds no new sign of
   * life either, and must not kill a healthy process.
   */
  #check(): void {
    const child = this.#child;
    this.#missedChecks += 1;
    if (child === undefined) return;
    const problem = this.#missedChecks >= 3 ? 'gave no sign of life' : this.#overdueReply();
    if (problem === undefined) return;
    child.kill();
    this.#lose('ENROLLER_HUNG', `the enroller (${named(child)}) ${problem} and was killed`);
  }

  /** The event loop may run while the work hangs: a file system that does not answer blocks one call forever. */
  #overdueReply(): string | undefined {
    const limit = Math.ceil(replyTimeout / this.#options.checkInterval);
    const request = this.#requests.overdue(limit);
    if (request === undefined) return undefined;
    return `did not answer a request (${request}) for ${formatDuration(replyTimeout)}`;
  }

  #ended(child: EnrollerChild | undefined, how: string): void {
    if (child === undefined || child !== this.#child) {
      if (child !== undefined) this.#departed(child);
      this.#options.logger.log('enroller_stopped', { pid: child?.pid });
      return;
    }
    const message = `the enroller (${named(child)}) ended unexpectedly: ${how}`;
    if (this.#crash === undefined) this.#lose('ENROLLER_LOST', message);
    else this.#lose('INTERNAL', `${message}: ${this.#crash}`);
  }

  #departed(child: EnrollerChild): void {
    this.#dismissed.get(child)?.settle();
    this.#dismissed.delete(child);
  }

  #lose(code: ErrorCode, message: string): void {
    const failure = { code, message, remedy: remedies[code] };
    const { listener } = this.#options;
    this.#stopTimers();
    listener.onLost(failure);
    this.#requests.clear({ type: 'lost', failure });
    listener.onChange();
  }

  #forget(): void {
    this.#stopTimers();
    this.#requests.clear();
  }

  #stopTimers(): void {
    clearInterval(this.#watchdog);
    clearTimeout(this.#idleTimer);
    this.#child = undefined;
  }
}

interface Departure {
  /** Settles when the process has ended, or cannot be ended. */
  readonly gone: Promise<void>;
  readonly settle: () => void;
}

/** Longer than the slowest key generation, a request up to its deadline, and `served.within` together. */
const replyTimeout = 5 * minute;

/** Milliseconds between dismissal and SIGKILL. */
const gracePeriod = 2 * second;

function named({ pid }: EnrollerChild): string {
  return pid === undefined ? 'not started' : `pid ${pid}`;
}
