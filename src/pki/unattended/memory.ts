import { join } from 'node:path';
import * as v from 'valibot';
import type { Instant } from '../../core/instant.ts';
import { formatInstant } from '../../core/instant.ts';
import { replaceFile } from '../../store/atomic-file.ts';
import { makePrivateDirectory } from '../../store/run-folder.ts';
import { readSmallFile } from '../../sys/small-file.ts';

/** What an unattended renewal has to know from earlier calls. */
export interface Memory {
  /** Other control-plane nodes were unhealthy at every check since then. */
  readonly unhealthySince?: Instant;
  readonly lastSuccess?: Instant;
}

const time = v.exactOptional(
  v.pipe(
    v.string(),
    v.transform((text) => Date.parse(text)),
    v.check((instant) => !Number.isNaN(instant)),
  ),
);
const schema = v.object({ unhealthySince: time, lastSuccess: time });

/** Empty if there is no valid file. A lost memory only delays a renewal without the Lease. */
export async function readMemory(directory: string): Promise<Memory> {
  try {
    const bytes = await readSmallFile(pathIn(directory), 64 * 1024);
    return v.parse(schema, JSON.parse(Buffer.from(bytes).toString()));
  } catch {
    return {};
  }
}

/** Writes nothing if nothing has changed. @throws AgentError STORE_* */
export async function writeMemory(directory: string, memory: Memory, last: Memory): Promise<void> {
  const text = textOf(memory);
  if (text === textOf(last)) return;
  await makePrivateDirectory(directory);
  await replaceFile(pathIn(directory), Buffer.from(text), 0o600);
}

function textOf({ unhealthySince, lastSuccess }: Memory): string {
  const document = {
    ...(unhealthySince !== undefined && { unhealthySince: formatInstant(unhealthySince) }),
    ...(lastSuccess !== undefined && { lastSuccess: formatInstant(lastSuccess) }),
  };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}

function pathIn(directory: string): string {
  return join(directory, 'unattended.json');
}
