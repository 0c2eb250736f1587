import { join } from 'node:path';
import * as v from 'valibot';
import type { Instant } from '../../core/instant.ts';
import { formatInstant, hour } from '../../core/instant.ts';
import { longestTrustAnnotation } from '../../core/trust-annotation.ts';
import { instant as time } from '../../kube/csr-object.ts';
import { replaceFile } from '../../store/atomic-file.ts';
import { makePrivateDirectory } from '../../store/run-folder.ts';
import { readSmallFile } from '../../sys/small-file.ts';
import type { ReaderMemory } from './reader.ts';

/** What a run has to know from earlier ones. The CAs and the stage come from the files, never from here. */
export interface TrustMemory {
  /** Last time that a source was read. */
  readonly readAt?: Instant;
  /** The time at which the source first lacked a held CA, by fingerprint. */
  readonly missingSince: Readonly<Record<string, Instant>>;
  /** Last time that a run changed a file. */
  readonly changedAt?: Instant;
  readonly reader?: ReaderMemory;
  readonly rolledBack?: RolledBack;
  readonly signers?: KnownSigners;
  readonly node?: KnownNode;
}

/** The CAs that the signers used, as fingerprints by the name of the signer. */
export interface KnownSigners {
  readonly at: Instant;
  readonly authorities: Readonly<Record<string, string>>;
}

/** The Node of this machine, as the API server had it. */
export interface KnownNode {
  readonly at: Instant;
  readonly kubeletVersion: string;
  /** The reports of this node. */
  readonly annotations: Readonly<Record<string, string>>;
}

/** CAs that were taken out of the files again. */
export interface RolledBack {
  /** The kubelet did not stay up with the CAs, or an administrator restored the previous ones. */
  readonly by: 'kubelet' | 'administrator';
  readonly at: Instant;
  readonly authorities: readonly string[];
  /** Rollbacks in a row of the same CAs. */
  readonly count: number;
}

export const emptyTrustMemory: TrustMemory = { missingSince: {} };

/**
 * Notes which held CAs the source lacks. A time without readings breaks the count, because the
 * source may have had the CA in between; so does a clock that was set.
 * @param unwanted fingerprints
 */
export function withReading(
  memory: TrustMemory,
  unwanted: readonly string[],
  now: Instant,
): TrustMemory {
  const { readAt = 0, missingSince } = memory;
  const isContinued = now >= readAt && now - readAt <= longestBreak;
  const since = (fingerprint: string): Instant =>
    isContinued ? Math.min(missingSince[fingerprint] ?? now, now) : now;
  return {
    ...memory,
    readAt: now,
    missingSince: Object.fromEntries(unwanted.map((one) => [one, since(one)])),
  };
}

/** A run is due every 15 minutes at the latest, and may find the API server restarting. */
const longestBreak = hour;

const fingerprint = v.pipe(v.string(), v.regex(/^[\da-f]{64}$/));
const fingerprints = v.array(fingerprint);

const schema = v.object({
  readAt: v.exactOptional(time),
  missingSince: v.optional(v.record(v.string(), time), {}),
  changedAt: v.exactOptional(time),
  reader: v.exactOptional(
    v.object({
      instance: v.string(),
      read: v.object({ kubeconfig: fingerprints, clientCA: fingerprints }),
      file: v.exactOptional(v.string()),
      rotates: v.boolean(),
      version: v.exactOptional(v.string()),
      changedAt: v.exactOptional(time),
    }),
  ),
  signers: v.exactOptional(v.object({ at: time, authorities: v.record(v.string(), fingerprint) })),
  node: v.exactOptional(
    v.object({
      at: time,
      kubeletVersion: v.string(),
      annotations: v.optional(
        v.record(v.string(), v.pipe(v.string(), v.maxLength(longestTrustAnnotation))),
        {},
      ),
    }),
  ),
  rolledBack: v.exactOptional(
    v.object({
      by: v.picklist(['kubelet', 'administrator']),
      at: time,
      authorities: fingerprints,
      count: v.pipe(v.number(), v.integer(), v.minValue(1)),
    }),
  ),
});

/** Empty if there is no valid file: a lost memory only delays the drop of a CA. */
export async function readTrustMemory(directory: string): Promise<TrustMemory> {
  try {
    const bytes = await readSmallFile(pathIn(directory), 64 * 1024);
    return v.parse(schema, JSON.parse(Buffer.from(bytes).toString()));
  } catch {
    return emptyTrustMemory;
  }
}

/** @throws AgentError STORE_* */
export async function writeTrustMemory(directory: string, memory: TrustMemory): Promise<void> {
  await makePrivateDirectory(directory);
  await replaceFile(pathIn(directory), Buffer.from(textOf(memory)), 0o600);
}

function textOf(memory: TrustMemory): string {
  return `${JSON.stringify(memory, shown, 2)}\n`;
}

/** Times in RFC 3339. */
function shown(key: string, value: unknown): unknown {
  return typeof value === 'number' && key !== 'count' ? formatInstant(value) : value;
}

function pathIn(directory: string): string {
  return join(directory, 'state.json');
}
