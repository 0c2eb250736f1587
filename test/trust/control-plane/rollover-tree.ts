import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { KubernetesDirectories } from '../../../src/pki/layout.ts';
import { removeContent, replaceContents } from '../../../src/store/file-content.ts';
import { Tree } from '../../../src/sys/tree.ts';
import type { CheckContext } from '../../../src/trust/control-plane/check.ts';
import { readRolloverNode } from '../../../src/trust/control-plane/node-files.ts';
import type { NodeStep, AnyNodeStepName } from '../../../src/trust/control-plane/node-step.ts';
import { planNodeStep } from '../../../src/trust/control-plane/node-step.ts';
import type { CaName, FileTask } from '../../../src/trust/control-plane/task.ts';
import { systemClock } from '../../../src/sys/clock.ts';
import { kubeadmPods } from '../../pki/components/manifests.ts';
import type { OpensslPair } from '../../pki/renewal/openssl-authority.ts';
import {
  authorityOf,
  caExtensions,
  issueWithOpenssl,
} from '../../pki/renewal/openssl-authority.ts';
import { writePair } from '../../pki/renewal/renewal-tree.ts';

const nextSubject = '/CN=kubernetes 2026-11';

/** The files of the step `create`: a new CA and its bridge. */
export async function writeNextAuthority(
  { certificates }: KubernetesDirectories,
  old: OpensslPair,
): Promise<OpensslPair> {
  const next = authorityOf({ subject: nextSubject });
  await writePair(join(certificates, 'ca-next.crt'), next);
  const extensions = [...caExtensions, 'authorityKeyIdentifier=keyid'];
  const bridge = issueWithOpenssl({
    subject: nextSubject,
    keyPem: next.key,
    extensions,
    signer: old,
  });
  await writeFile(join(certificates, 'ca-bridge.crt'), bridge.certificate);
  return next;
}

/** The manifests of kubeadm, with the paths of this folder. */
export async function writeManifests({ kubernetes }: KubernetesDirectories): Promise<void> {
  await mkdir(join(kubernetes, 'manifests'), { recursive: true });
  for (const [name, pod] of Object.entries(kubeadmPods)) {
    const text = stringify(pod).replaceAll('/etc/kubernetes', kubernetes);
    await writeFile(manifestIn({ kubernetes }, name), text, { mode: 0o600 });
  }
}

export function manifestIn(
  { kubernetes }: Pick<KubernetesDirectories, 'kubernetes'>,
  name: string,
): string {
  return join(kubernetes, 'manifests', `${name}.yaml`);
}

export async function contextOf(
  directories: KubernetesDirectories,
  ca: CaName = 'kubernetes',
): Promise<CheckContext> {
  const node = await readRolloverNode({ ca, tree: new Tree('/'), directories });
  if (node === undefined) throw new Error('no rollover');
  return { node, clock: systemClock, version: '0.0.0' };
}

export async function plan(
  directories: KubernetesDirectories,
  step: AnyNodeStepName,
  ca?: CaName,
): Promise<NodeStep> {
  return planNodeStep(step, await contextOf(directories, ca));
}

/** Writes the files of all tasks, without restarts and checks. */
export async function walk(
  directories: KubernetesDirectories,
  ...steps: readonly AnyNodeStepName[]
): Promise<void> {
  await walkOf('kubernetes', directories, ...steps);
}

/** The same for another CA. */
export async function walkOf(
  ca: CaName,
  directories: KubernetesDirectories,
  ...steps: readonly AnyNodeStepName[]
): Promise<void> {
  for (const step of steps) await writeStep(await plan(directories, step, ca));
}

export async function writeStep({ tasks, lastTasks, obstacles }: NodeStep): Promise<void> {
  if (obstacles.length > 0) throw new Error(JSON.stringify(obstacles));
  for (const task of [...tasks, ...lastTasks]) await write(task);
}

/** Writes the files of a task, without its restart and check. */
export async function write({ files, make }: FileTask): Promise<void> {
  if (files.length === 0) return;
  using made = await make();
  const written = made.changes.flatMap(({ path, after }) =>
    after === undefined ? [] : [{ path, content: after }],
  );
  await replaceContents(written);
  for (const { path, after } of made.changes) if (after === undefined) await removeContent(path);
}

/** As in `signing files: ca-signing.crt (the old CA)`, for each file that a step changes. */
export function changedFiles({ tasks, lastTasks }: NodeStep): string[] {
  return [...tasks, ...lastTasks].flatMap(({ name, files }) =>
    files.map(({ path, content }) => `${name}: ${path.split('/').at(-1)} (${content})`),
  );
}

export async function textIn(
  { certificates }: KubernetesDirectories,
  name: string,
): Promise<string> {
  return readFile(join(certificates, name), 'utf8');
}

/** Its first page is not mapped, so a read of it fails with EIO, also for root. */
export const unreadableFile = '/proc/self/mem';

/** A manifest without the mark of its last restart. */
export function withoutAnnotation(text: string): string {
  return text.replace(/^ *nodecertd\.io\/restarted-at: .*\n/m, '');
}
