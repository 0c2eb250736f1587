import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { parse } from 'yaml';
import type { AgentConfig } from '../core/config.ts';
import { AgentError } from '../core/errors.ts';
import { readBoundedFile } from '../store/bounded-file.ts';
import { unlessMissing } from '../store/store-error.ts';

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
type Settings = v.InferOutput<typeof settingsSchema>;

/**
 * The KubeletConfiguration with its drop-ins laid over it as the kubelet does: every
 * `*.conf` below --config-dir, in lexical order (cmd/kubelet/app, mergeKubeletConfigurations).
 * @throws AgentError CONFIG_INVALID, STORE_PERMISSIONS, STORE_IO
 */
export async function readKubeletConfig({ kubelet }: AgentConfig): Promise<KubeletFacts> {
  const { configFile: file, configDirectory } = kubelet;
  const main = await unlessMissing(() => readSettings(file));
  const dropIns = configDirectory === undefined ? [] : await dropInFiles(configDirectory);
  let facts: KubeletFacts = { file, found: main !== undefined || dropIns.length > 0 };
  if (main !== undefined) facts = overlay(facts, main, file);
  for (const dropIn of dropIns) facts = overlay(facts, await readSettings(dropIn), dropIn);
  return facts;
}

function overlay(facts: KubeletFacts, settings: Settings, file: string): KubeletFacts {
  const set = Object.entries(settings)
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([key, value]) => [key, { value, file }] as const);
  return { ...facts, ...Object.fromEntries(set) };
}

async function dropInFiles(directory: string): Promise<string[]> {
  const entries = await unlessMissing(() =>
    readdir(directory, { recursive: true, withFileTypes: true }),
  );
  return (entries ?? [])
    .filter((entry) => !entry.isDirectory() && entry.name.endsWith('.conf'))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

async function readSettings(path: string): Promise<Settings> {
  using file = await readBoundedFile(path);
  const text = new TextDecoder().decode(file.content.expose());
  try {
    return v.parse(settingsSchema, parse(text) ?? {});
  } catch (error) {
    throw new AgentError('CONFIG_INVALID', `${path} is no KubeletConfiguration`, {
      cause: error,
      remedy: `Correct ${path}: the kubelet does not start with it either`,
    });
  }
}
