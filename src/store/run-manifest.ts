import { unlink } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { AgentError, describeError } from '../core/errors.ts';
import { printable } from '../core/printable.ts';
import { replaceFile, syncDirectory } from './atomic-file.ts';
import { readBoundedFile } from '../sys/small-file.ts';
import { attempt, isMissing, unlessMissing } from '../sys/file-error.ts';

/**
 * The states of a run. Its manifest is written before the first change, next to the copies.
 * `applying` and `reverting` mark an interrupted run. If the latest run is `reverted`, all
 * earlier runs are, too, so that a single write reverts all of them.
 */
export const runStates = ['applying', 'applied', 'reverting', 'reverted'] as const;
export type RunState = (typeof runStates)[number];

const digest = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));
const mode = v.pipe(v.string(), v.regex(/^[0-7]{4}$/));
const whole = v.pipe(v.number(), v.integer(), v.minValue(0));

const stateSchema = v.object({ sha256: digest, mode, uid: whole, gid: whole });

/** A restoration copies this file, so the path must not leave the folder. */
function isBelow(path: string): boolean {
  return path.split('/').every((name) => !['', '.', '..'].includes(name));
}

const changeSchema = v.object({
  /** The files of one item are replaced together. */
  item: v.exactOptional(v.string()),
  /** The path on the node, with links resolved. */
  path: v.pipe(v.string(), v.startsWith('/')),
  existed: v.boolean(),
  before: v.exactOptional(stateSchema),
  /** Absent if the run removed the file. */
  after: v.exactOptional(stateSchema),
  /** The copy of the previous file, below the folder of the run. */
  backup: v.exactOptional(v.pipe(v.string(), v.check(isBelow, 'must be a path below the folder'))),
});

const manifestSchema = v.object({
  apiVersion: v.literal('nodecertd.io/v1alpha1'),
  kind: v.picklist(['AdoptionManifest', 'RenewalManifest', 'RolloverManifest', 'TrustManifest']),
  /** The step of a CA rollover. */
  step: v.exactOptional(v.string()),
  /** The CA of a CA rollover; absent for the CA of Kubernetes. */
  ca: v.exactOptional(v.string()),
  version: v.string(),
  /** Orders the runs even when the clock was set back. */
  sequence: whole,
  state: v.picklist(runStates),
  startedAt: v.string(),
  finishedAt: v.exactOptional(v.string()),
  changes: v.pipe(v.array(changeSchema), v.readonly()),
});

/** The digest, mode and owner of a file. */
export type FileState = v.InferOutput<typeof stateSchema>;
export type FileChange = v.InferOutput<typeof changeSchema>;
export type Manifest = v.InferOutput<typeof manifestSchema>;

/**
 * The folder of one run of a command, such as `certs renew`, with copies of the files that it changed.
 * A folder without a manifest belongs to a run that changed nothing.
 */
export interface Run {
  readonly folder: string;
  readonly manifest: Manifest;
}

const fileName = 'manifest.json';

/** Writes and syncs the manifest. @throws AgentError STORE_FULL, STORE_PERMISSIONS, STORE_IO */
export async function writeManifest({ folder, manifest }: Run): Promise<void> {
  const text = `${JSON.stringify(manifest, undefined, 2)}\n`;
  await replaceFile(join(folder, fileName), Buffer.from(text), 0o600);
}

/**
 * Undefined when there is no manifest.
 * @throws AgentError CONFIG_INVALID, STORE_PERMISSIONS, STORE_IO
 */
export async function readManifest(folder: string): Promise<Manifest | undefined> {
  const path = join(folder, fileName);
  try {
    using file = await readBoundedFile(path);
    const text = new TextDecoder().decode(file.content.expose());
    return v.parse(manifestSchema, JSON.parse(text));
  } catch (error) {
    if (isMissing(error)) return undefined;
    if (error instanceof AgentError && error.code !== 'PAIR_MALFORMED') throw error;
    throw new AgentError(
      'CONFIG_INVALID',
      `${path} is not a manifest of nodecertd: ${printable(describeError(error), 200)}`,
      { remedy: `Restore the copies in ${folder} by hand, and delete the folder` },
    );
  }
}

/** Removes the manifest and syncs the folder. */
export async function removeManifest(folder: string): Promise<void> {
  const path = join(folder, fileName);
  await unlessMissing(() => attempt('remove', path, () => unlink(path)));
  await syncDirectory(folder);
}
