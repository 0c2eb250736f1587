import type {
  CrashReport,
  EnrollerCommand,
  EnrollerNotice,
  EnrollerReplies,
  EnrollerReport,
  EnrollerRequest,
  Heartbeat,
} from '../core/enroller-protocol.ts';
import type { Failure } from '../core/errors.ts';

/** The enroller ended before it finished the request, and its keys ended with it. */
export interface Lost {
  readonly type: 'lost';
  readonly failure: Failure;
}

/** The keeper's side of the enroller. */
export interface EnrollerLink {
  /**
   * Replies come in order, any number with progress and then one that ends the request, or
   * `lost`. A callback and not a promise: each reply takes effect before the next event, so
   * the rotation never acts on a state that a reply in a later microtask is about to change.
   */
  request<T extends EnrollerRequest['type']>(
    request: Extract<EnrollerRequest, { readonly type: T }>,
    onReply: (reply: EnrollerReplies[T] | Lost) => void,
  ): void;
  /** Has the enroller forget the key and the CSR of this name. */
  abandon(name: string): void;
}

export interface EnrollerListener {
  onStarted(): void;
  /** It was dismissed because nothing was left to do. */
  onFinished(): void;
  onNotice(notice: EnrollerNotice): void;
  /** It ended or hung with requests pending. Each of them is told after this. */
  onLost(failure: Failure): void;
  /** A reply, or the loss of the enroller, has taken effect. */
  onChange(): void;
}

/** A running enroller process, as much of it as the keeper needs. */
export interface EnrollerChild {
  /** Absent when it could not be started. */
  readonly pid: number | undefined;
  send(message: EnrollerCommand): void;
  /** Closes the channel: the child ends by itself as soon as it notices. */
  disconnect(): void;
  /** SIGKILL: a process that hangs reacts to nothing less. */
  kill(): void;
}

export interface ChildListener {
  onMessage(message: EnrollerReport | Heartbeat | CrashReport): void;
  /** Called once, and never before the launch has returned. */
  onExit(how: string): void;
}

export type LaunchEnroller = (listener: ChildListener) => EnrollerChild;
