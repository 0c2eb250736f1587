import { readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import * as v from 'valibot';
import { AgentError } from '../../core/errors.ts';
import { isMissing, unlessMissing } from '../../sys/file-error.ts';
import type { FileNote } from './component.ts';
import { fileFailure, readText } from './text-file.ts';
import { parseDocuments } from './yaml-documents.ts';

const containerSchema = v.object({
  name: v.string(),
  image: v.nullish(v.string(), ''),
  command: v.nullish(v.array(v.string()), []),
  args: v.nullish(v.array(v.string()), []),
  workingDir: v.nullish(v.string(), ''),
  restartPolicy: v.nullish(v.string(), ''),
  env: v.nullish(
    v.array(
      v.object({
        name: v.string(),
        value: v.nullish(v.string()),
        valueFrom: v.nullish(v.unknown()),
      }),
    ),
    [],
  ),
  volumeMounts: v.nullish(
    v.array(
      v.object({
        name: v.string(),
        mountPath: v.string(),
        subPath: v.nullish(v.string(), ''),
        subPathExpr: v.nullish(v.string(), ''),
      }),
    ),
    [],
  ),
});

const kindSchema = v.object({ kind: v.literal('Pod') });

const podSchema = v.object({
  metadata: v.object({
    name: v.pipe(v.string(), v.nonEmpty()),
    namespace: v.nullish(v.string(), ''),
  }),
  spec: v.object({
    hostNetwork: v.nullish(v.boolean(), false),
    containers: v.array(containerSchema),
    initContainers: v.nullish(v.array(containerSchema), []),
    volumes: v.nullish(
      v.array(v.object({ name: v.string(), hostPath: v.nullish(v.object({ path: v.string() })) })),
      [],
    ),
  }),
});

export type Container = v.InferOutput<typeof containerSchema>;
export type PodSpec = v.InferOutput<typeof podSchema>['spec'];

export interface StaticPod {
  readonly manifest: string;
  /** `kube-system/kube-apiserver` */
  readonly id: string;
  readonly spec: PodSpec;
}

export interface StaticPods {
  readonly pods: readonly StaticPod[];
  readonly problems: readonly FileNote[];
  /** Files and documents that the kubelet does not use. */
  readonly ignored: readonly FileNote[];
}

/**
 * The static pods that the kubelet runs, from its directory, or from the only file. Follows the
 * kubelet (pkg/kubelet/config/file.go): it reads every file except those with a dot at the start
 * of their name, whatever the extension, in the order of the names, and of two files with the
 * same pod it uses the last.
 */
export async function readStaticPods(path: string): Promise<StaticPods> {
  const readings: ManifestReading[] = [];
  const problems: FileNote[] = [];
  const ignored: FileNote[] = [];
  try {
    const { files, hidden } = await manifestsAt(path);
    ignored.push(...hidden);
    for (const file of files) readings.push(await readManifest(file));
  } catch (error) {
    problems.push({ path, reason: reasonOf(error), hidesComponent: true });
  }
  for (const { problem, ignored: left } of readings) {
    if (problem !== undefined) problems.push(problem);
    if (left !== undefined) ignored.push(left);
  }
  const found = readings.flatMap(({ pod }) => (pod === undefined ? [] : [pod]));
  const used = new Map(found.map((pod) => [pod.id, pod]));
  for (const { id, manifest } of found) {
    const last = used.get(id)?.manifest;
    if (last !== undefined && last !== manifest) {
      ignored.push({ path: manifest, reason: sharedPod(id, last) });
    }
  }
  return { pods: [...used.values()], problems, ignored };
}

function sharedPod(id: string, last: string): string {
  return `the kubelet uses ${last} instead: both define the pod ${id}, and the last file name wins; the kubelet reads every name that does not start with a dot, so move copies to another directory`;
}

interface ManifestReading {
  readonly pod?: StaticPod;
  readonly problem?: FileNote;
  readonly ignored?: FileNote;
}

async function manifestsAt(
  path: string,
): Promise<{ readonly files: readonly string[]; readonly hidden: readonly FileNote[] }> {
  const found = await unlessMissing(async () => stat(path));
  if (found === undefined) return { files: [], hidden: [] };
  if (!found.isDirectory()) return { files: [path], hidden: [] };
  // JavaScript sorts by UTF-16 units and Go by bytes, which differ only beyond the BMP.
  const entries = (await readdir(path)).toSorted();
  const paths = entries.map((name) => join(path, name));
  const reason = 'the kubelet ignores names that start with a dot';
  return {
    files: paths.filter((file) => !isHidden(file)),
    hidden: paths.filter(isHidden).map((file) => ({ path: file, reason })),
  };
}

function isHidden(path: string): boolean {
  return basename(path).startsWith('.');
}

async function readManifest(path: string): Promise<ManifestReading> {
  try {
    const found = await stat(path);
    if (found.isDirectory()) {
      return { ignored: { path, reason: 'the kubelet does not read folders in this directory' } };
    }
    const { first, count } = parseDocuments(await readText(path));
    if (!v.is(kindSchema, first)) {
      return { ignored: { path, reason: 'it is not a Pod, so the kubelet does not use it' } };
    }
    const result = v.safeParse(podSchema, first, { abortEarly: true });
    if (!result.success) return { problem: { path, reason: notValid(result.issues[0]) } };
    const { metadata, spec } = result.output;
    const pod = { manifest: path, id: `${metadata.namespace || 'default'}/${metadata.name}`, spec };
    if (count === 1) return { pod };
    const reason = `the kubelet reads only the first of its ${count} YAML documents`;
    return { pod, ignored: { path, reason } };
  } catch (error) {
    const isHidden = error instanceof AgentError ? error.code === 'STORE_IO' : !isMissing(error);
    return {
      problem: { path, reason: reasonOf(error), ...(isHidden && { hidesComponent: true }) },
    };
  }
}

function notValid(issue: v.BaseIssue<unknown>): string {
  const key = v.getDotPath(issue) ?? 'the document';
  return `is not a Pod that the kubelet can read: ${key} must be ${issue.expected ?? 'valid'}`;
}

function reasonOf(error: unknown): string {
  return error instanceof AgentError ? error.message : fileFailure(error);
}
