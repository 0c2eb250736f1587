import { dirname, resolve } from 'node:path';
import * as v from 'valibot';
import { printable, withoutSecrets } from '../core/printable.ts';
import type { ExecPlugin } from './cluster-access.ts';
import type { KeyPath, KubeconfigDocument } from './kubeconfig-document.ts';
import { isClearlyPath } from './kubeconfig-material.ts';

const versions = ['client.authentication.k8s.io/v1', 'client.authentication.k8s.io/v1beta1'];

const text = v.nullish(v.string());

const execSchema = v.object({
  command: v.pipe(v.string(), v.nonEmpty()),
  args: v.nullish(v.array(v.string()), []),
  env: v.nullish(v.array(v.object({ name: v.pipe(v.string(), v.nonEmpty()), value: text })), []),
  apiVersion: v.pipe(v.string(), v.nonEmpty()),
  installHint: text,
  provideClusterInfo: v.nullish(v.boolean(), false),
  interactiveMode: text,
});

interface Places {
  /** Of the user entry. */
  readonly user: KeyPath;
  /** Of the cluster entry. */
  readonly cluster: KeyPath;
}

/**
 * The exec credential plugin of a user, checked as client-go checks it
 * (tools/clientcmd/validation.go). Does not run the plugin.
 * @throws AgentError KUBECONFIG_INVALID, KUBECONFIG_UNSUPPORTED
 */
export function readExecPlugin(
  document: KubeconfigDocument,
  { user, cluster }: Places,
): ExecPlugin | undefined {
  const at = [...user, 'exec'];
  if ((document.read(v.unknown(), at) ?? '') === '') return undefined;
  const fields = document.read(execSchema, at);
  document.refuseOtherKeys(at, new Set(Object.keys(execSchema.entries)));
  requireVersion(document, [...at, 'apiVersion'], fields.apiVersion);
  requireNoTerminal(document, [...at, 'interactiveMode'], fields);
  requireNoNul(document, at, fields);
  const { command, args, env, apiVersion, installHint, provideClusterInfo } = fields;
  // Relative paths start at the folder of the kubeconfig. A name without a slash is looked up in PATH.
  const path = command.includes('/') ? resolve(dirname(document.path), command) : command;
  const variables = (env ?? []).map(({ name, value }) => [name, value ?? ''] as const);
  const clusterConfig = extensionOf(document, cluster);
  return {
    apiVersion,
    name: isClearlyPath(command) ? path : withoutSecrets(command, 80),
    command: path,
    args: args ?? [],
    environment: () => Object.fromEntries(variables),
    provideClusterInfo: provideClusterInfo ?? false,
    ...(installHint && { installHint: printable(installHint, 300) }),
    ...(clusterConfig !== undefined && { clusterConfig }),
  };
}

function requireVersion(document: KubeconfigDocument, at: KeyPath, version: string): void {
  if (versions.includes(version)) return;
  throw document.failure('KUBECONFIG_UNSUPPORTED', at, {
    message: `is ${JSON.stringify(withoutSecrets(version, 80))}, which nodecertd does not support`,
    remedy: `Set apiVersion to the version that the plugin returns: ${versions.join(' or ')}`,
  });
}

/** v1 requires the mode, v1beta1 defaults to IfAvailable (tools/clientcmd/api/v1/defaults.go). */
function requireNoTerminal(
  document: KubeconfigDocument,
  at: KeyPath,
  { apiVersion, interactiveMode }: v.InferOutput<typeof execSchema>,
): void {
  const mode = interactiveMode || (apiVersion === versions[1] ? 'IfAvailable' : undefined);
  if (mode === 'Never' || mode === 'IfAvailable') return;
  if (mode === 'Always') {
    throw document.failure('KUBECONFIG_UNSUPPORTED', at, {
      message: 'is Always, but a service has no terminal',
      remedy: 'Use a plugin that needs no input, and set interactiveMode to Never',
    });
  }
  throw document.failure('KUBECONFIG_INVALID', at, {
    message: mode === undefined ? 'is missing' : 'must be Never, IfAvailable or Always',
    remedy: `Set interactiveMode to Never in ${document.path}`,
  });
}

/** The kernel ends arguments and variables at a NUL character. */
function requireNoNul(
  document: KubeconfigDocument,
  at: KeyPath,
  { command, args, env }: v.InferOutput<typeof execSchema>,
): void {
  const variables = (env ?? []).flatMap(({ name, value }) => [name, value ?? '']);
  if (![command, ...(args ?? []), ...variables].some((word) => word.includes('\0'))) return;
  throw document.failure('KUBECONFIG_INVALID', at, { message: 'contains a NUL character' });
}

const extensionSchema = v.nullish(
  v.array(v.object({ name: v.string(), extension: v.unknown() })),
  [],
);

function extensionOf(document: KubeconfigDocument, cluster: KeyPath): unknown {
  const extensions = document.read(extensionSchema, [...cluster, 'extensions']) ?? [];
  const found = extensions.find(({ name }) => name === 'client.authentication.k8s.io/exec');
  return found?.extension;
}
