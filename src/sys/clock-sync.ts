import { second } from '../core/instant.ts';
import type { Clock } from './clock.ts';
import { findProgram } from './find-program.ts';
import { runCommand } from './run-command.ts';

/** Whether a time service keeps the clock right; `unknown` without systemd-timedated. */
export type ClockSync = 'synchronized' | 'unsynchronized' | 'unknown';

/**
 * Asks systemd-timedated, which reads the maximum error of the clock from the kernel, so chrony
 * and ntpd count as well as systemd-timesyncd. No Node API has the state of adjtimex(2).
 */
export async function clockSync({
  path,
  clock,
  signal,
}: {
  /** PATH, to find timedatectl. */
  readonly path: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}): Promise<ClockSync> {
  const program = await findProgram('timedatectl', path);
  if (program === undefined) return 'unknown';
  const chunks: Buffer[] = [];
  await runCommand({
    argv: [program, 'show', '--property=NTPSynchronized'],
    env: { LC_ALL: 'C', PATH: path },
    clock,
    signal,
    timeoutMs: 10 * second,
    maxLines: 0,
    onLine: () => undefined,
    onOutput: (chunk) => chunks.push(chunk),
  });
  const [, answer] = /^NTPSynchronized=(yes|no)$/m.exec(Buffer.concat(chunks).toString()) ?? [];
  if (answer === undefined) return 'unknown';
  return answer === 'yes' ? 'synchronized' : 'unsynchronized';
}
