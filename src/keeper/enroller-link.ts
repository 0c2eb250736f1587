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

/** The enroller ended before it finished the request, so its keys are lost. */
export interface Lost {
  readonly type: 'lost';
  readonly failure: Failure;
}

/** The keeper's side of the enroller. */
export interface EnrollerLink {
  /**
   * Replies come in order, any number with progress and then one that ends the request, or
   * `lost`. A callback instead of a promise: each reply takes effect before the next event, so
   * the rotation never acts on an outdated state.
   */
  request<T extends EnrollerRequest['type']>(
    request: Extract<EnrollerRequest, { readonly type: T }>,
    onReply: (reply: EnrollerReplies[T] | Lost) => void,
  ): void;
  /** Makes the enroller forget the key and the CSR of this name. */
  abandon(name: string): void;
}

export interface EnrollerListener {
  onStarted(): void;
  /** The enroller was dismissed because no request was left. */
  onFinished(): void;
  onNotice(notice: EnrollerNotice): void;
  /**
   * The enroller ended or hung while requests were pending. Each request gets `lost` after this
   * call.
   */
  onLost(failure: Failure): void;
  /** A reply, or the loss of the enroller, has taken effect. */
  onChange(): void;
}

/** A running enroller process, from the view of the keeper. */
export interface EnrollerChild {
  /** Absent if the process could not be started. */
  readonly pid: number | undefined;
  send(message: EnrollerCommand): void;
  /** Closes the channel, so that the child exits on its own. */
  disconnect(): void;
  /** Sends SIGKILL, because a hung process may ignore other signals. */
  kill(): void;
}

export interface ChildListener {
  onMessage(message: EnrollerReport | Heartbeat | CrashReport): void;
  /** Called once, and never before the launch function returns. */
  onExit(how: string): void;
}

export type LaunchEnroller = (listener: ChildListener) => EnrollerChild;
