import { join } from 'node:path';
import * as v from 'valibot';
import type { Instant } from '../../core/instant.ts';
import { formatInstant } from '../../core/instant.ts';
import type { UnattendedCertificate } from '../../core/unattended-renewal.ts';
import { replaceFile } from '../../store/atomic-file.ts';
import { makePrivateDirectory } from '../../store/run-folder.ts';
import { readSmallFile } from '../../sys/small-file.ts';

/** What an unattended renewal has to know from earlier calls. */
export interface Memory {
  /** Other control-plane nodes were unhealthy at every check since then. */
  readonly unhealthySince?: Instant;
  readonly lastSuccess?: Instant;
  /** The serial numbers before a renewal, by certificate, until a call has seen its end. */
  readonly begun: Readonly<Record<string, string>>;
  /** The latest unattended renewal of each certificate, the last one at the end. */
  readonly renewals: readonly UnattendedCertificate[];
}

export const emptyMemory: Memory = { begun: {}, renewals: [] };

const time = v.exactOptional(
  v.pipe(
    v.string(),
    v.transform((text) => Date.parse(text)),
    v.check((instant) => !Number.isNaN(instant)),
  ),
);
const certificate = v.object({ name: v.string(), serial: v.string(), notAfter: v.string() });
const schema = v.object({
  unhealthySince: time,
  lastSuccess: time,
  // Absent in files of older versions.
  begun: v.optional(v.record(v.string(), v.string()), {}),
  renewals: v.optional(v.array(certificate), []),
});

/**
 * Empty if there is no valid file. A lost memory delays a renewal without the Lease, and hides what
 * a killed call renewed.
 */
export async function readMemory(directory: string): Promise<Memory> {
  try {
    const bytes = await readSmallFile(pathIn(directory), 64 * 1024);
    return v.parse(schema, JSON.parse(Buffer.from(bytes).toString()));
  } catch {
    return emptyMemory;
  }
}

/** Writes nothing if nothing has changed. @throws AgentError STORE_* */
export async function writeMemory(directory: string, memory: Memory): Promise<void> {
  const text = textOf(memory);
  if (text === textOf(await readMemory(directory))) return;
  await makePrivateDirectory(directory);
  await replaceFile(pathIn(directory), Buffer.from(text), 0o600);
}

function textOf({ unhealthySince, lastSuccess, begun, renewals }: Memory): string {
  const document = {
    ...(unhealthySince !== undefined && { unhealthySince: formatInstant(unhealthySince) }),
    ...(lastSuccess !== undefined && { lastSuccess: formatInstant(lastSuccess) }),
    begun,
    renewals,
  };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}

function pathIn(directory: string): string {
  return join(directory, 'unattended.json');
}
