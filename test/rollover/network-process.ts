import { spawn } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import type { NetworkNamespace } from '../support/node-network.ts';

/** Runs a script of this folder in the network of a node or of the cluster. */
export function startIn(
  { enter: [command = '', ...enter] }: NetworkNamespace,
  script: string,
  args: readonly string[],
): ChildProcessByStdio<Writable, Readable, null> {
  const path = join(import.meta.dirname, script);
  return spawn(command, [...enter, process.execPath, path, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
}
