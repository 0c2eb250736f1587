import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { parse } from 'yaml';
import type { KubeletConfig } from '../core/config.ts';
import { AgentError, describeError } from '../core/errors.ts';
import { withoutSecrets } from '../core/printable.ts';
import { readBoundedFile } from '../sys/bounded-file.ts';
import { orBadContent, unlessMissing } from '../sys/file-error.ts';

/** A setting of the kubelet and the file that has the last word on it. */
export interface KubeletSetting<T> {
  readonly value: T;
  readonly file: string;
}

/** The settings of a kubelet that meddle with ours; what no file says is absent. */
export interface KubeletFacts {
  readonly file: string;
  readonly found: boolean;
  readonly rotateCertificates?: KubeletSetting<boolean>;
  readonly serverTLSBootstrap?: KubeletSetting<boolean>;
  readonly tlsCertFile?: KubeletSetting<string>;
  readonly tlsPrivateKeyFile?: KubeletSetting<string>;
}

const settingsSchema = v.object({
  rotateCertificates: v.nullish(v.boolean()),
  serverTLSBootstrap: v.nullish(v.boolean()),
  tlsCertFile: v.nullish(v.string()),
  tlsPrivateKeyFile: v.nullish(v.string()),
});

/** What one file says; null takes back what the files before it said. */
export type KubeletSettings = v.InferOutput<typeof settingsSchema>;

export interface KubeletLayer {
  readonly file: string;
  readonly settings: KubeletSettings;
}

/** The files of a KubeletConfiguration in the order in which they are laid over one another. */
export interface KubeletLayers {
  readonly main?: KubeletLayer;
  readonly dropIns: readonly KubeletLayer[];
}

/** Where the configuration of a kubelet is read from. */
type KubeletConfigFiles = Pick<KubeletConfig, 'configFile' | 'configDirectory'>;

/** Where a path is really opened: that of an image is below the folder it is unpacked to. */
export type Locate = (path: string) => Promise<string>;

const inPlace: Locate = async (path) => path;

/**
 * The KubeletConfiguration with its drop-ins laid over it as the kubelet does.
 * @throws AgentError CONFIG_INVALID, STORE_PERMISSIONS, STORE_IO
 */
export async function readKubeletConfig({
  kubelet,
}: {
  readonly kubelet: KubeletConfigFiles;
}): Promise<KubeletFacts> {
  return kubeletFacts(kubelet.configFile, await readKubeletLayers(kubelet));
}

/** A JSON merge patch (RFC 7386) per file, for values that are no maps: null takes away. */
export function kubeletFacts(file: string, { main, dropIns }: KubeletLayers): KubeletFacts {
  const layers = main === undefined ? dropIns : [main, ...dropIns];
  const merged = new Map<string, KubeletSetting<unknown>>();
  for (const { file, settings } of layers) {
    for (const [key, value] of Object.entries(settings)) {
      if (value === null || value === undefined) merged.delete(key);
      else merged.set(key, { value, file });
    }
  }
  return { file, found: layers.length > 0, ...Object.fromEntries(merged) };
}

/** @throws AgentError CONFIG_INVALID, STORE_PERMISSIONS, STORE_IO */
export async function readKubeletLayers(
  { configFile, configDirectory }: KubeletConfigFiles,
  locate: Locate = inPlace,
): Promise<KubeletLayers> {
  const main = await unlessMissing(() => readLayer(configFile, locate));
  const files = configDirectory === undefined ? [] : await dropInFiles(configDirectory, locate);
  const dropIns: KubeletLayer[] = [];
  for (const file of files) dropIns.push(await readLayer(file, locate));
  return { ...(main !== undefined && { main }), dropIns };
}

/**
 * Every `*.conf` below --config-dir in the order of filepath.WalkDir, by which the kubelet
 * goes (cmd/kubelet/app, mergeKubeletConfigurations): folders in the place of their name,
 * and a link in the place of the folder itself not followed.
 */
async function dropInFiles(directory: string, locate: Locate): Promise<string[]> {
  const top = await unlessMissing(async () => lstat(await linkOf(directory, locate)));
  return top?.isDirectory() === true ? filesBelow(directory, locate) : [];
}

async function filesBelow(directory: string, locate: Locate): Promise<string[]> {
  const entries = await readdir(await locate(directory), { withFileTypes: true });
  const files: string[] = [];
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) files.push(...(await filesBelow(path, locate)));
    else if (entry.name.endsWith('.conf')) files.push(path);
  }
  return files;
}

/** The place of the path itself, its folders located; what ends in a slash is what a link leads to. */
async function linkOf(path: string, locate: Locate): Promise<string> {
  if (path.endsWith('/')) return locate(path);
  const at = path.lastIndexOf('/');
  return at === -1 ? path : join(await locate(path.slice(0, at + 1)), path.slice(at + 1));
}

async function readLayer(file: string, locate: Locate): Promise<KubeletLayer> {
  const physical = await locate(file);
  const found = await orBadContent(() => readBoundedFile(physical));
  if (found instanceof AgentError) {
    throw invalid(file, found.message.replace(physical, file));
  }
  using content = found;
  const text = new TextDecoder().decode(content.content.expose());
  const result = v.safeParse(settingsSchema, parsed(file, text), { abortEarly: true });
  if (result.success) return { file, settings: result.output };
  const [issue] = result.issues;
  const key = v.getDotPath(issue) ?? 'the document';
  throw invalid(file, `${key} must be ${issue.expected ?? 'valid'}`);
}

/** As YAML 1.1, in which `yes` and `on` are true: so the kubelet reads it. */
function parsed(path: string, text: string): unknown {
  try {
    return parse(text, { version: '1.1', prettyErrors: false, logLevel: 'error' }) ?? {};
  } catch (error) {
    // Quoted in it is what the parser stumbled over, which may be anything.
    throw invalid(path, withoutSecrets(describeError(error), 200));
  }
}

function invalid(path: string, why: string): AgentError {
  return new AgentError('CONFIG_INVALID', `${path} is no KubeletConfiguration: ${why}`, {
    remedy: `Correct ${path}: the kubelet does not start with it either`,
  });
}
