import * as v from 'valibot';
import type { Instant } from '../core/instant.ts';
import { second } from '../core/instant.ts';
import type { OwnCommandOptions } from './own-command.ts';
import { runOwnCommand } from './own-command.ts';

export type UnattendedCommand = Omit<OwnCommandOptions, 'resultCodes' | 'graceMs' | 'outputLimit'>;

export type UnattendedEnd<T> =
  | { readonly kind: 'complete'; readonly document: T }
  /** The reason follows the name of the command in a sentence. */
  | { readonly kind: 'failed'; readonly reason: string };

/**
 * Runs a command of nodecertd once. The command decides whether to change anything, and prints what
 * it did as a JSON document.
 */
export async function runUnattended<T>(
  options: UnattendedCommand,
  schema: v.GenericSchema<unknown, T>,
): Promise<UnattendedEnd<T>> {
  const end = await runOwnCommand({
    ...options,
    // 3 means waiting, and 1 means refused or failed.
    resultCodes: new Set([0, 1, 3]),
    // The command restores what it has not finished. systemd kills all processes after 30 s.
    graceMs: 20 * second,
    outputLimit: 1,
  });
  if (end.kind === 'failed') return end;
  const parsed = v.safeParse(schema, parsedJson(end.text));
  if (parsed.success) return { kind: 'complete', document: parsed.output };
  return { kind: 'failed', reason: 'printed an unexpected document' };
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A time in a document. */
export const documentTime = v.pipe(
  v.string(),
  v.isoTimestamp(),
  v.transform((text): Instant => Date.parse(text)),
);
