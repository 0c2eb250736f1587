import { unlink } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { AgentError, describeError } from '../core/errors.ts';
import { printable } from '../core/printable.ts';
import { replaceFile, syncDirectory } from '../store/atomic-file.ts';
import { readBoundedFile } from '../sys/bounded-file.ts';
import { attempt, isMissing, unlessMissing } from '../sys/file-error.ts';

/**
 * The record of one run, written before the first change and beside the copies of what it
 * changes. `applying` and `reverting` are runs that were cut short; once the latest run
 * is `reverted`, so are all before it: one write decides for all of them.
 */
export const runStates = ['applying', 'applied', 'reverting', 'reverted'] as const;
export type RunState = (typeof runStates)[number];

const digest = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));
const mode = v.pipe(v.string(), v.regex(/^[0-7]{4}$/));
const whole = v.pipe(v.number(), v.integer(), v.minValue(0));

const stateSchema = v.object({ sha256: digest, mode, uid: whole, gid: whole });

const changeSchema = v.object({
  /** The place that was written, links resolved, as the node sees it. */
  path: v.pipe(v.string(), v.startsWith('/')),
  existed: v.boolean(),
  before: v.exactOptional(stateSchema),
  after: stateSchema,
  /** The copy of the file as it was, within the folder of the run. */
  backup: v.exactOptional(v.string()),
});

const manifestSchema = v.object({
  apiVersion: v.literal('nodecertd.io/v1alpha1'),
  kind: v.literal('AdoptionManifest'),
  version: v.string(),
  /** In the order in which they were made, whatever the clock said. */
  sequence: whole,
  state: v.picklist(runStates),
  startedAt: v.string(),
  finishedAt: v.exactOptional(v.string()),
  changes: v.pipe(v.array(changeSchema), v.readonly()),
});

/** How a file is, without its content. */
export type FileState = v.InferOutput<typeof stateSchema>;
export type FileChange = v.InferOutput<typeof changeSchema>;
export type Manifest = v.InferOutput<typeof manifestSchema>;

/** A folder below `<stateDirectory>/adopt`; without a manifest it was made, and nothing was changed. */
export interface Run {
  readonly folder: string;
  readonly manifest: Manifest;
}

const fileName = 'manifest.json';

/** Lasting when this settles. @throws AgentError STORE_FULL, STORE_PERMISSIONS, STORE_IO */
export async function writeManifest({ folder, manifest }: Run): Promise<void> {
  const text = `${JSON.stringify(manifest, undefined, 2)}\n`;
  await replaceFile(join(folder, fileName), Buffer.from(text), 0o600);
}

/** Undefined where there is none. @throws AgentError CONFIG_INVALID, STORE_PERMISSIONS, STORE_IO */
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
      `${path} is no record of an adoption: ${printable(describeError(error), 200)}`,
      { remedy: `Put back by hand what ${folder} holds copies of, and remove that folder` },
    );
  }
}

/** Lasting when this settles; nothing to do where there is none. */
export async function removeManifest(folder: string): Promise<void> {
  const path = join(folder, fileName);
  await unlessMissing(() => attempt('remove', path, () => unlink(path)));
  await syncDirectory(folder);
}
