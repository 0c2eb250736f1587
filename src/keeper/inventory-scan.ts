import { minute } from '../core/instant.ts';
import { BoundedOutput } from '../sys/bounded-output.ts';
import type { Clock } from '../sys/clock.ts';
import { describeEnd, runCommand } from '../sys/run-command.ts';

export interface InventoryScanOptions {
  /** The nodecertd program: an absolute path and its first arguments. */
  readonly program: readonly string[];
  /** Paths and glob patterns of further files. */
  readonly paths: readonly string[];
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export type InventoryScan =
  | { readonly kind: 'complete'; readonly text: string }
  /** The reason follows the name of the command in a sentence. */
  | { readonly kind: 'failed'; readonly reason: string };

/** A file system that does not respond blocks the command. */
const timeoutMs = 5 * minute;
/** The series of about 100,000 certificates. */
const outputLimit = 64 * 1024 * 1024;

/**
 * Runs `nodecertd certs check-expiration` and returns its series for Prometheus. It is a command
 * of its own, because it reads private keys, which the keeper must never do.
 */
export async function scanInventory(options: InventoryScanOptions): Promise<InventoryScan> {
  const { program, paths, clock, signal } = options;
  using output = new BoundedOutput(outputLimit);
  const errors: string[] = [];
  const { end } = await runCommand({
    argv: [...program, ...scanArguments(paths)],
    env: process.env as Record<string, string>,
    clock,
    timeoutMs,
    // The command changes nothing, so it can be killed at any time.
    graceMs: 0,
    maxLines: 1,
    onLine: (line) => errors.push(line),
    onOutput: (chunk) => output.add(chunk),
    signal: AbortSignal.any([signal, output.overflow]),
  });
  if (output.overflow.aborted) {
    return { kind: 'failed', reason: `printed more than ${outputLimit / 1024 / 1024} MB` };
  }
  if (end.kind !== 'exited' || !resultCodes.has(end.code)) {
    const reason = [describeEnd(end, timeoutMs), ...errors].join(': ');
    return { kind: 'failed', reason };
  }
  const text = output.text();
  if (lastLine.test(text)) return { kind: 'complete', text };
  return { kind: 'failed', reason: 'printed an incomplete inventory' };
}

function scanArguments(paths: readonly string[]): string[] {
  const further = paths.flatMap((path) => ['--path', path]);
  return ['certs', 'check-expiration', '--output', 'prometheus', ...further];
}

/** Certificates that need attention have the exit codes 3 and 4. */
const resultCodes: ReadonlySet<number> = new Set([0, 3, 4]);

/** The command prints this series last. */
const lastLine = /^nodecertd_inventory_last_scan_timestamp_seconds \S+\n$/m;
