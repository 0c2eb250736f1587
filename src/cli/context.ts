import type { Command } from 'commander';
import type { ConfigRequest, LoadedConfig } from '../config/load.ts';
import type { Clock } from '../sys/clock.ts';
import type { ExitCodeMeanings } from './exit-code.ts';

export interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

export interface AgentStart {
  readonly config: LoadedConfig;
  /** Reads the configuration anew, from where it was read at the start. */
  readonly loadConfig: () => Promise<LoadedConfig>;
}

/** Runs until it is told to stop; the number is the exit code. */
export type StartAgent = (start: AgentStart) => Promise<number>;

/** All that a command gets from outside. */
export interface CliContext {
  readonly stdout: Output;
  readonly stderr: Output;
  readonly environment: ConfigRequest['environment'];
  readonly clock: Clock;
  readonly startAgent: StartAgent;
}

/** What a command's file exports; loaded only when the command is named. */
export interface CommandModule {
  /** Adds options and the action, which hands its exit code to `exit`. */
  configure(command: Command, context: CliContext, exit: (code: number) => void): void;
  /** Where they differ from the usual ones. */
  readonly exitCodes?: ExitCodeMeanings;
}
