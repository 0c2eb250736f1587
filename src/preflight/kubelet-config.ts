import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { parse } from 'yaml';
import type { KubeletConfig } from '../core/config.ts';
import { AgentError, describeError } from '../core/errors.ts';
import { withoutSecrets } from '../core/printable.ts';
import { readBoundedFile } from '../store/bounded-file.ts';
import { orBadContent, unlessMissing } from '../store/store-error.ts';

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
export async function readKubeletConfig({
  kubelet,
}: {
  readonly kubelet: Pick<KubeletConfig, 'configFile' | 'configDirectory'>;
}): Promise<KubeletFacts> {
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
  const found = await orBadContent(() => readBoundedFile(path));
  if (found instanceof AgentError) throw invalid(path, found.message);
  using file = found;
  const text = new TextDecoder().decode(file.content.expose());
  const result = v.safeParse(settingsSchema, parsed(path, text), { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  const key = v.getDotPath(issue) ?? 'the document';
  throw invalid(path, `${key} must be ${issue.expected ?? 'valid'}`);
}

function parsed(path: string, text: string): unknown {
  try {
    return parse(text, { prettyErrors: false, logLevel: 'error' }) ?? {};
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
