import { dirname, resolve } from 'node:path';
import * as v from 'valibot';
import type { AgentConfig } from '../core/config.ts';
import { isPlaceholderHostName } from '../core/host-name.ts';
import { isNodeName } from '../core/node-name.ts';
import type { ConfigFlags } from './flags.ts';
import { overlayFlags } from './flags.ts';
import { toProblem, valueAt } from './issues.ts';
import { dropUnknownKeys, isMap } from './known-keys.ts';
import type { ConfigPath, Problem } from './problem.ts';
import { configInvalid, describeValue, formatPath } from './problem.ts';
import { readText } from './read-text.ts';
import { resolveConfig, warningsOf } from './resolve.ts';
import {
  bootstrapProblems,
  certificateProblems,
  listProblems,
  pkiProblems,
  trustProblems,
  windowProblems,
} from './rules.ts';
import type { ConfigFile } from './schema.ts';
import {
  apiVersion,
  bootstrapSchema,
  certificateSchema,
  configFileSchema,
  kind,
  pkiSchema,
  trustSchema,
  windowSchema,
} from './schema.ts';
import type { YamlSource } from './yaml-source.ts';
import { parseYaml } from './yaml-source.ts';

export interface ConfigRequest {
  /** Without a file, the configuration has the two certificates of the kubelet and all defaults. */
  readonly file?: string | undefined;
  readonly flags: ConfigFlags;
  readonly environment: {
    /** Read for each configuration, because the host name may be set while the agent runs. */
    readonly hostName: string;
    /** The directory for relative paths in flags. */
    readonly workingDirectory: string;
  };
}

export interface LoadedConfig extends AgentConfig {
  /** Questionable settings that are allowed, one sentence each. */
  readonly warnings: readonly string[];
}

/**
 * Reads the file, applies the flags and fills in the defaults.
 * @throws AgentError CONFIG_UNREADABLE, or CONFIG_INVALID with one line for each problem
 */
export async function loadConfig(request: ConfigRequest): Promise<LoadedConfig> {
  const { flags, environment } = request;
  const file =
    request.file === undefined ? undefined : resolve(environment.workingDirectory, request.file);
  const source = file === undefined ? undefined : parseYaml(await readText(file), file);
  const { value, flagFor } = overlayFlags(
    source === undefined ? { apiVersion, kind } : source.value,
    flags,
    environment.workingDirectory,
  );
  const { output, problems } = check(value);
  const hostName = environment.hostName.trim().toLowerCase();
  const isPlaceholder =
    valueAt(value, ['nodeName']) === undefined && isPlaceholderHostName(hostName);
  const nodeName = isPlaceholder
    ? 'localhost'
    : (output?.nodeName ?? hostName).trim().toLowerCase();
  const found = [...problems, ...hostNameProblems(value, nodeName)];
  if (output === undefined || found.length > 0) {
    throw configInvalid(
      file ?? 'the command line',
      found.map((problem) => locate(problem, { file, source, flagFor })),
    );
  }
  const config = resolveConfig(output, { nodeName, folder: dirname(file ?? '/') });
  if (config.bootstrapKubeconfig === config.kubeconfig) {
    const problem = {
      path: ['bootstrapKubeconfig'],
      message: `is the same file as kubeconfig, ${config.kubeconfig}, which the agent overwrites`,
    };
    throw configInvalid('', [locate(problem, { file, source, flagFor })]);
  }
  return {
    ...config,
    ...(isPlaceholder && needsNodeName(config) && { placeholderHostName: hostName }),
    ...(file !== undefined && { file }),
    warnings: warningsOf(output),
  };
}

/**
 * Custom certificates have their own subject. They need the node name only for addresses of
 * the Node.
 */
function needsNodeName({ certificates }: AgentConfig): boolean {
  return certificates.some(
    ({ profile, addresses }) => profile !== 'custom' || addresses === 'node',
  );
}

function check(value: unknown): {
  readonly output: ConfigFile | undefined;
  readonly problems: readonly Problem[];
} {
  const { known, problems: unknown } = dropUnknownKeys(configFileSchema, value);
  const parsed = v.safeParse(configFileSchema, known);
  const listed = isMap(known) && Array.isArray(known['certificates']) ? known['certificates'] : [];
  const problems = [
    ...unknown,
    ...(parsed.issues ?? []).map((issue) => toProblem(issue, value)),
    ...rotationProblems(valueAt(known, ['rotation'])),
    ...problemsOf(known, { key: 'pki', schema: pkiSchema, rules: pkiProblems }),
    ...problemsOf(known, { key: 'trust', schema: trustSchema, rules: trustProblems }),
    ...problemsOf(known, { key: 'bootstrap', schema: bootstrapSchema, rules: bootstrapProblems }),
    ...listProblems(listed),
    ...listed.flatMap((entry, index) => entryProblems(entry, index)),
  ];
  return { output: parsed.success ? parsed.output : undefined, problems };
}

function rotationProblems(rotation: unknown): Problem[] {
  const { typed, output } = v.safeParse(windowSchema, rotation);
  return typed ? windowProblems(output) : [];
}

/** The problems by the rules of one top-level key, unless the schema already finds problems there. */
function problemsOf<T extends v.GenericSchema>(
  value: unknown,
  {
    key,
    schema,
    rules,
  }: {
    readonly key: string;
    readonly schema: T;
    readonly rules: (output: v.InferOutput<T>) => Problem[];
  },
): Problem[] {
  const { typed, output } = v.safeParse(schema, valueAt(value, [key]));
  if (!typed) return [];
  return rules(output).map(({ path, message }) => ({ path: [key, ...path], message }));
}

/**
 * Checks each certificate separately, so that an invalid one does not hide the problems of
 * others.
 */
function entryProblems(entry: unknown, index: number): Problem[] {
  const { typed, output } = v.safeParse(certificateSchema, entry);
  return typed
    ? certificateProblems(output).map(({ path, message }) => ({
        path: ['certificates', index, ...path],
        message,
      }))
    : [];
}

function hostNameProblems(value: unknown, nodeName: string): Problem[] {
  if (valueAt(value, ['nodeName']) !== undefined || isNodeName(nodeName)) return [];
  return [
    {
      path: ['nodeName'],
      message: `is required because the host name ${describeValue(nodeName)} cannot be the name of a Node; set nodeName or --hostname-override`,
    },
  ];
}

interface Origin {
  readonly file: string | undefined;
  readonly source: YamlSource | undefined;
  readonly flagFor: (path: ConfigPath) => string | undefined;
}

function locate({ path, message }: Problem, { file, source, flagFor }: Origin) {
  const flag = flagFor(path);
  if (flag !== undefined || source === undefined) {
    return { place: flag ?? formatPath(path), line: 0, message };
  }
  const line = source.lineOf(path);
  const key = formatPath(path);
  return { place: `${file}:${line}${key === '' ? '' : `: ${key}`}`, line, message };
}
