import type { Command } from 'commander';
import type { ConfigRequest, LoadedConfig } from '../config/load.ts';
import type { MetricsConfig } from '../core/config.ts';
import type { LogLevel } from '../core/log-events.ts';
import type { Clock } from '../sys/clock.ts';
import type { ExitCodeMeanings } from './exit-code.ts';

export interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

export interface AgentStart {
  readonly config: LoadedConfig;
  /** Reads the configuration again, from the same place. */
  readonly loadConfig: () => Promise<LoadedConfig>;
}

/** Runs until it receives a stop signal; resolves with the exit code. */
export type StartAgent = (start: AgentStart) => Promise<number>;

export interface ApproverStart {
  /** Absolute paths. */
  readonly policy?: string;
  readonly kubeconfig?: string;
  readonly leaseNamespace?: string;
  readonly metrics: MetricsConfig;
  readonly logLevel: LogLevel;
  readonly logFormat: 'json' | 'text';
}

/** Runs until it receives a stop signal; resolves with the exit code. */
export type StartApprover = (start: ApproverStart) => Promise<number>;

/** Everything a command uses from its environment. */
export interface CliContext {
  readonly stdout: Output;
  readonly stderr: Output;
  readonly environment: ConfigRequest['environment'];
  readonly clock: Clock;
  readonly startAgent: StartAgent;
  readonly startApprover: StartApprover;
  /** Asks a person and returns the answer. Absent without a terminal. */
  readonly ask?: (question: string) => Promise<string>;
}

/** The exports of a command's file, loaded only if the command line names the command. */
export interface CommandModule {
  /** Adds the options and the action, which passes its exit code to `exit`. */
  configure(command: Command, context: CliContext, exit: (code: number) => void): void;
  /** The common exit codes by default. */
  readonly exitCodes?: ExitCodeMeanings;
}
