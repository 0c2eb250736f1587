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
  /**
   * Milliseconds between two checks for a heartbeat. After three failed checks, the supervisor
   * kills the process.
   */
  readonly checkInterval?: number;
  /**
   * Milliseconds before an idle enroller is dismissed, because the next request often follows at
   * once.
   */
  readonly idleTime?: number;
}

/**
 * Starts the enroller for the first request, dismisses it after the last one, and notices a crash
 * or a hang. So no key stays in memory longer than necessary.
 */
export class EnrollerSupervisor implements EnrollerLink {
  readonly #options: Required<SupervisorOptions>;
  readonly #requests = new PendingRequests();
  /** Children that were dismissed but have not exited yet. */
  readonly #dismissed = new Map<EnrollerChild, PendingExit>();
  #child: EnrollerChild | undefined;
  #missedChecks = 0;
  /** The error that the child reported before it crashed. */
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
    // Safe cast: the table delivers only replies to this request, and the protocol defines their
    // types.
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

  /** Ends the enroller for good and abandons its requests. Resolves when the process has exited. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#child !== undefined) this.#dismiss(this.#child);
    await Promise.all([...this.#dismissed.values()].map(({ exited }) => exited));
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

  /** Dismisses the process if no request is pending and no new one follows. */
  #dismissWhenIdle(): void {
    clearTimeout(this.#idleTimer);
    if (!this.#requests.isEmpty) return;
    this.#idleTimer = setTimeout(() => {
      if (this.#child === undefined) return;
      this.#dismiss(this.#child);
      this.#options.listener.onFinished();
    }, this.#options.idleTime);
  }

  /**
   * Kills a child that does not exit on its own, because it would keep keys in memory and this
   * process alive.
   */
  #dismiss(child: EnrollerChild): void {
    this.#dropRequests();
    const { promise: exited, resolve } = Promise.withResolvers<void>();
    const kill = setTimeout(() => child.kill(), gracePeriod);
    // Not even SIGKILL ends a process that hangs in the kernel.
    const giveUp = setTimeout(resolve, 2 * gracePeriod);
    const settle = (): void => {
      clearTimeout(kill);
      clearTimeout(giveUp);
      resolve();
    };
    this.#dismissed.set(child, { exited, settle });
    child.disconnect();
  }

  /**
   * Counts checks, not time: the first check after a suspend finds no new heartbeat, but must not
   * kill a healthy process.
   */
  #check(): void {
    const child = this.#child;
    this.#missedChecks += 1;
    if (child === undefined) return;
    const problem = this.#missedChecks >= 3 ? 'sent no heartbeat' : this.#overdueReply();
    if (problem === undefined) return;
    child.kill();
    this.#lose('ENROLLER_HUNG', `the enroller (${named(child)}) ${problem} and was killed`);
  }

  /**
   * Heartbeats may continue while a request hangs, because an unresponsive file system blocks
   * only its own call.
   */
  #overdueReply(): string | undefined {
    const limit = Math.ceil(replyTimeout / this.#options.checkInterval);
    const request = this.#requests.overdue(limit);
    if (request === undefined) return undefined;
    return `did not answer a request (${request}) for ${formatDuration(replyTimeout)}`;
  }

  #ended(child: EnrollerChild | undefined, how: string): void {
    if (child === undefined || child !== this.#child) {
      if (child !== undefined) this.#dismissedExited(child);
      this.#options.logger.log('enroller_stopped', { pid: child?.pid });
      return;
    }
    const message = `the enroller (${named(child)}) ended unexpectedly: ${how}`;
    if (this.#crash === undefined) this.#lose('ENROLLER_LOST', message);
    else this.#lose('INTERNAL', `${message}: ${this.#crash}`);
  }

  #dismissedExited(child: EnrollerChild): void {
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

  #dropRequests(): void {
    this.#stopTimers();
    this.#requests.clear();
  }

  #stopTimers(): void {
    clearInterval(this.#watchdog);
    clearTimeout(this.#idleTimer);
    this.#child = undefined;
  }
}

interface PendingExit {
  /** Resolves when the process has exited, or if it cannot be killed. */
  readonly exited: Promise<void>;
  readonly settle: () => void;
}

/**
 * Longer than the slowest key generation, the timeout of a request and `served.within` together.
 */
const replyTimeout = 5 * minute;

/** Milliseconds between dismissal and SIGKILL. */
const gracePeriod = 2 * second;

function named({ pid }: EnrollerChild): string {
  return pid === undefined ? 'not started' : `pid ${pid}`;
}
