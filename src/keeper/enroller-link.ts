import type { EnrollerCommand, EnrollerReport } from '../core/enroller-protocol.ts';

/** The keeper's side of the enroller: commands go out, reports come back through the listener. */
export interface EnrollerLink {
  send(command: EnrollerCommand): void;
}

export interface EnrollerListener {
  onStarted(): void;
  /** It ended because nothing was left to do. */
  onFinished(): void;
  onReport(report: EnrollerReport): void;
  /** The enroller ended with work in hand: its keys are gone, and nothing it was told will happen. */
  onLost(loss: EnrollerLoss): void;
}

export interface EnrollerLoss {
  /** INTERNAL when it could still say what was wrong with it. */
  readonly code: 'ENROLLER_LOST' | 'ENROLLER_HUNG' | 'INTERNAL';
  readonly message: string;
}

/** A running enroller process, as much of it as the keeper needs. */
export interface EnrollerChild {
  /** Absent when it could not be started. */
  readonly pid: number | undefined;
  send(message: EnrollerCommand): void;
  /** Closes the channel: the child ends by itself as soon as it notices. */
  disconnect(): void;
  /** SIGKILL: a process that hangs would not answer anything less. */
  kill(): void;
}

export interface ChildListener {
  onMessage(message: EnrollerReport | Heartbeat | LastWords): void;
  /** Called once, and never before the launch has returned. */
  onExit(how: string): void;
}

/** Sent by the enroller every few seconds, so that a blocked event loop is noticed. */
export interface Heartbeat {
  readonly type: 'alive';
}

/** Sent by an enroller that ends over a fault of its own. */
export interface LastWords {
  readonly type: 'crashed';
  readonly error: string;
}

export type LaunchEnroller = (listener: ChildListener) => EnrollerChild;
