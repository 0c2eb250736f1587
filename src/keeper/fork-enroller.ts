import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { describeError } from '../core/errors.ts';
import type { ChildListener, EnrollerChild, LaunchEnroller } from './enroller-link.ts';

export interface EnrollerProgram {
  /** The program to run and its arguments. */
  readonly program: string;
  readonly args: readonly string[];
  readonly execArgv: readonly string[];
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** The Node.js binary; this process's own if absent. */
  readonly execPath?: string;
}

export interface ForkOptions extends EnrollerProgram {
  /** The first message: the part of the configuration that the enroller needs. */
  readonly greeting: object;
  /** A process that was started early. The first launch uses it if it still runs. */
  readonly started?: ChildProcess;
}

/**
 * Runs the enroller as a child process with an IPC channel. It has no standard input, and its
 * standard output goes to standard error, so that it cannot mix with the output of a command.
 */
export function forkEnroller(options: ForkOptions): LaunchEnroller {
  let early = options.started;
  return (listener) => {
    const child = early?.exitCode === null && early.connected ? early : start(options);
    early = undefined;
    if (child instanceof Error) {
      setImmediate(() => listener.onExit(child.message));
      return neverStarted();
    }
    child.on('message', (message) =>
      listener.onMessage(message as Parameters<ChildListener['onMessage']>[0]),
    );
    // Node also emits this event for a message that did not reach the child; then the exit event
    // follows.
    child.on('error', (error) => {
      if (child.pid === undefined) listener.onExit(error.message);
    });
    child.on('exit', (code, signal) =>
      listener.onExit(signal === null ? `exit code ${code}` : `signal ${signal}`),
    );
    if (child.pid === undefined) return neverStarted();
    child.send(options.greeting, () => undefined);
    return toEnrollerChild(child);
  };
}

/** Most errors of fork() are events, but some (no memory) are thrown. */
function start(program: EnrollerProgram): ChildProcess | Error {
  try {
    return startEnroller(program);
  } catch (error) {
    return error instanceof Error ? error : new Error(describeError(error));
  }
}

/** Starts only the process. To save time, the agent calls this before it creates the keeper. */
export function startEnroller(options: EnrollerProgram): ChildProcess {
  const { program, args, execArgv, env, execPath } = options;
  const child = fork(program, [...args], {
    execArgv: [...execArgv],
    ...(execPath !== undefined && { execPath }),
    env: { ...process.env, ...env },
    stdio: ['ignore', 2, 2, 'ipc'],
  });
  // An error event without a listener would end this process.
  child.on('error', () => undefined);
  return child;
}

/** Returns a new object for each call, because the supervisor compares children by identity. */
function neverStarted(): EnrollerChild {
  return {
    pid: undefined,
    send: () => undefined,
    disconnect: () => undefined,
    kill: () => undefined,
  };
}

function toEnrollerChild(child: ChildProcess): EnrollerChild {
  return {
    pid: child.pid,
    // Ignores a failed write, because the exit event reports a child that has ended.
    send: (message) => void child.send(message, () => undefined),
    disconnect: () => {
      if (child.connected) child.disconnect();
    },
    kill: () => void child.kill('SIGKILL'),
  };
}
