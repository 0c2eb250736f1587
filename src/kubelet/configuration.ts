import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { parse } from 'yaml';
import type { KubeletConfig } from '../core/config.ts';
import { AgentError, describeError } from '../core/errors.ts';
import { withoutSecrets } from '../core/printable.ts';
import { readBoundedFile } from '../sys/small-file.ts';
import { orBadContent, unlessMissing } from '../sys/file-error.ts';

/** A setting of the kubelet and its source. */
export interface KubeletSetting<T> {
  readonly value: T;
  /** The file that sets it last, or the command line with the flag. */
  readonly file: string;
  /** The flag that overrides the files. */
  readonly flag?: string;
}

/**
 * The settings of a kubelet that concern certificates, its own and those of the control plane;
 * a setting that no file or flag sets is absent.
 */
export interface KubeletFacts {
  readonly file: string;
  readonly found: boolean;
  readonly rotateCertificates?: KubeletSetting<boolean>;
  readonly serverTLSBootstrap?: KubeletSetting<boolean>;
  readonly tlsCertFile?: KubeletSetting<string>;
  readonly tlsPrivateKeyFile?: KubeletSetting<string>;
  readonly clientCAFile?: KubeletSetting<string>;
  readonly staticPodPath?: KubeletSetting<string>;
  readonly address?: KubeletSetting<string>;
  readonly port?: KubeletSetting<number>;
}

const x509Schema = v.object({ clientCAFile: v.nullish(v.string()) });

const settingsSchema = v.pipe(
  v.object({
    rotateCertificates: v.nullish(v.boolean()),
    serverTLSBootstrap: v.nullish(v.boolean()),
    tlsCertFile: v.nullish(v.string()),
    tlsPrivateKeyFile: v.nullish(v.string()),
    staticPodPath: v.nullish(v.string()),
    address: v.nullish(v.string()),
    port: v.nullish(v.number()),
    authentication: v.nullish(v.object({ x509: v.nullish(x509Schema) })),
  }),
  v.transform(({ authentication, ...settings }) => {
    const x509 = authentication === null ? null : authentication?.x509;
    const clientCAFile = x509 === null ? null : x509?.clientCAFile;
    return clientCAFile === undefined ? settings : { ...settings, clientCAFile };
  }),
);

/** The settings of one file; null removes what an earlier file has set. */
export type KubeletSettings = v.InferOutput<typeof settingsSchema>;

export interface KubeletLayer {
  readonly file: string;
  readonly text: string;
  readonly settings: KubeletSettings;
}

/** The files of a KubeletConfiguration. Each file overrides the previous files. */
export interface KubeletLayers {
  readonly main?: KubeletLayer;
  readonly dropIns: readonly KubeletLayer[];
}

/** The paths of a kubelet's configuration. A kubelet can run without a main file. */
interface KubeletConfigFiles {
  readonly configFile?: string | undefined;
  readonly configDirectory?: string | undefined;
}

/**
 * Returns the path at which this program opens a path of the node, which may be in the folder of
 * an image.
 */
export type Locate = (path: string) => Promise<string>;

const inPlace: Locate = async (path) => path;

/**
 * The KubeletConfiguration and its drop-ins, merged like in the kubelet.
 * @throws AgentError CONFIG_INVALID, STORE_PERMISSIONS, STORE_IO
 */
export async function readKubeletConfig({
  kubelet,
}: {
  readonly kubelet: Pick<KubeletConfig, 'configFile' | 'configDirectory'>;
}): Promise<KubeletFacts> {
  return kubeletFacts(kubelet.configFile, await readKubeletLayers(kubelet));
}

/**
 * Each file is a JSON merge patch (RFC 7386), in which null removes a key, and a map in which the
 * key may be. No setting that is read here is a map.
 */
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
  const main =
    configFile === undefined ? undefined : await unlessMissing(() => readLayer(configFile, locate));
  const files = configDirectory === undefined ? [] : await dropInFiles(configDirectory, locate);
  const dropIns: KubeletLayer[] = [];
  for (const file of files) dropIns.push(await readLayer(file, locate));
  return { ...(main !== undefined && { main }), dropIns };
}

/**
 * Every `*.conf` below --config-dir, in the order in which the kubelet reads them with
 * filepath.WalkDir (cmd/kubelet/app, mergeKubeletConfigurations): folders are sorted by name
 * among the files, and a --config-dir that is a link is not followed.
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

/** The location of the path itself. Follows a link at the path only if the path ends in a slash. */
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
  if (result.success) return { file, text, settings: result.output };
  const [issue] = result.issues;
  const key = v.getDotPath(issue) ?? 'the document';
  throw invalid(file, `${key} must be ${issue.expected ?? 'valid'}`);
}

/** As YAML 1.1, like the kubelet: `yes` and `on` are true. */
function parsed(path: string, text: string): unknown {
  try {
    return parse(text, { version: '1.1', prettyErrors: false, logLevel: 'error' }) ?? {};
  } catch (error) {
    // The error quotes the text, which may be a secret.
    throw invalid(path, withoutSecrets(describeError(error), 200));
  }
}

function invalid(path: string, why: string): AgentError {
  return new AgentError('CONFIG_INVALID', `${path} is not a KubeletConfiguration: ${why}`, {
    remedy: `Correct ${path}: the kubelet cannot start with it either`,
  });
}
