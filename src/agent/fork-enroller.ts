import { fork } from 'node:child_process';
import type { ChildListener, EnrollerChild, LaunchEnroller } from './enroller-link.ts';

export interface ForkOptions {
  /** The program to run and its arguments. */
  readonly program: string;
  readonly args: readonly string[];
  readonly execArgv: readonly string[];
  /** The first message: what the enroller has to know of the configuration. */
  readonly greeting: object;
}

/**
 * Runs the enroller as a child process with an IPC channel and nothing else: no
 * standard input, and its standard output goes where errors go, so that results on
 * standard output stay clean.
 */
export function forkEnroller(options: ForkOptions): LaunchEnroller {
  return (listener) => {
    const child = fork(options.program, [...options.args], {
      execArgv: [...options.execArgv],
      stdio: ['ignore', 2, 2, 'ipc'],
    });
    const failed = (error: Error): void => listener.onExit(error.message);
    child.on('message', (message) =>
      listener.onMessage(message as Parameters<ChildListener['onMessage']>[0]),
    );
    child.on('error', failed);
    child.on('exit', (code, signal) => {
      child.off('error', failed);
      child.on('error', () => undefined);
      listener.onExit(signal === null ? `exit code ${code}` : `signal ${signal}`);
    });
    child.send(options.greeting);
    return toEnrollerChild(child);
  };
}

function toEnrollerChild(child: ReturnType<typeof fork>): EnrollerChild {
  return {
    pid: child.pid ?? 0,
    // A write to a child that is about to end fails; its exit is what gets reported.
    send: (message) => void child.send(message, () => undefined),
    disconnect: () => {
      if (child.connected) child.disconnect();
    },
    kill: () => void child.kill('SIGKILL'),
  };
}
