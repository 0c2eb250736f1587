import { existsSync } from 'node:fs';
import { AgentError } from '../core/errors.ts';
import { second } from '../core/instant.ts';
import type { Clock } from '../sys/clock.ts';
import { exists } from '../sys/exists.ts';
import { findProgram } from '../sys/find-program.ts';
import { runCommand } from '../sys/run-command.ts';

/** Present if the kernel has SELinux. */
const selinuxStatus = '/sys/fs/selinux/enforce';

const timeout = 10 * second;

export type CopyAttributes = (from: string, to: string) => Promise<void>;

/**
 * Copies access control list, extended attributes and SELinux label from one file to another.
 * Node has no function for them, so `cp` of coreutils does it. Does nothing without the first file.
 * Has no signal, because files are also restored after a cancellation.
 * @throws AgentError STORE_PERMISSIONS
 */
export function attributeCopier(clock: Clock): CopyAttributes {
  const { signal } = new AbortController();
  const kept = ['mode', 'xattr', ...(existsSync(selinuxStatus) ? ['context'] : [])];
  return async (from, to) => {
    // A key that was missing has no attributes to keep.
    if (!(await exists(from))) return;
    const lines: string[] = [];
    const path = process.env['PATH'] ?? '/usr/bin:/bin';
    const cp = (await findProgram('cp', path)) ?? '/bin/cp';
    const { end } = await runCommand({
      argv: [cp, '--attributes-only', `--preserve=${kept.join(',')}`, '--', from, to],
      env: { LC_ALL: 'C' },
      clock,
      timeoutMs: timeout,
      maxLines: 1,
      onLine: (line) => lines.push(line),
      signal,
    });
    if (end.kind === 'exited' && end.code === 0) return;
    throw new AgentError(
      'STORE_PERMISSIONS',
      `cannot copy the extended attributes of ${from}: ${lines[0] ?? describeEnd(end)}`,
      {
        remedy: `Install coreutils, and check the file system: cp --attributes-only --preserve=all ${from} /tmp/x`,
      },
    );
  };
}

function describeEnd(end: Awaited<ReturnType<typeof runCommand>>['end']): string {
  return end.kind === 'not-started' ? end.reason : `cp ended (${end.kind})`;
}
