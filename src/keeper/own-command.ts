import { BoundedOutput } from '../sys/bounded-output.ts';
import type { Clock } from '../sys/clock.ts';
import { describeEnd, runCommand } from '../sys/run-command.ts';

export interface OwnCommandOptions {
  /** The nodecertd program: an absolute path and its first arguments. */
  readonly program: readonly string[];
  readonly args: readonly string[];
  /** Added to the environment of this process. */
  readonly env?: Readonly<Record<string, string>>;
  /** The exit codes with which the command prints its result. */
  readonly resultCodes: ReadonlySet<number>;
  readonly clock: Clock;
  readonly timeoutMs: number;
  /** Milliseconds between SIGTERM and SIGKILL. */
  readonly graceMs: number;
  /** The largest output, in megabytes. */
  readonly outputLimit: number;
  readonly signal: AbortSignal;
}

export type OwnCommandEnd =
  | { readonly kind: 'complete'; readonly text: string }
  /** The reason follows the name of the command in a sentence. */
  | { readonly kind: 'failed'; readonly reason: string };

/**
 * Runs a command of nodecertd that reads private keys, which the keeper must never do, and
 * returns its output. Never rejects.
 */
export async function runOwnCommand(options: OwnCommandOptions): Promise<OwnCommandEnd> {
  const { program, args, env, resultCodes, timeoutMs, outputLimit, signal } = options;
  using output = new BoundedOutput(outputLimit * 1024 * 1024);
  const errors: string[] = [];
  const { end } = await runCommand({
    ...options,
    argv: [...program, ...args],
    env: { ...(process.env as Record<string, string>), ...env },
    maxLines: 1,
    onLine: (line) => errors.push(line),
    onOutput: (chunk) => output.add(chunk),
    signal: AbortSignal.any([signal, output.overflow]),
  });
  if (output.overflow.aborted) {
    return { kind: 'failed', reason: `printed more than ${outputLimit} MB` };
  }
  const text = output.text();
  // The command can also fail with one of these codes, and then prints nothing.
  if (end.kind === 'exited' && resultCodes.has(end.code) && (end.code === 0 || text !== '')) {
    return { kind: 'complete', text };
  }
  // Within its grace period, it may print what it had completed.
  if (end.kind === 'aborted' && text !== '') return { kind: 'complete', text };
  const reason = [describeEnd(end, timeoutMs), ...errors].join(': ');
  return { kind: 'failed', reason };
}
