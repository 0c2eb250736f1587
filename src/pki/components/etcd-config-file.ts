import * as v from 'valibot';
import { AgentError, describeError } from '../../core/errors.ts';
import type { Component, ComponentFlag, FileNote } from './component.ts';
import { flagValue } from './component-flags.ts';
import { readText } from './text-file.ts';
import { parseDocuments } from './yaml-documents.ts';

const securitySchema = v.nullish(v.record(v.string(), v.unknown()), {});

const configSchema = v.looseObject({
  'client-transport-security': securitySchema,
  'peer-transport-security': securitySchema,
});

/**
 * Replaces the flags of an etcd with --config-file by those that the file sets. etcd then ignores
 * all other flags and its environment (server/etcdmain/config.go).
 */
export async function withEtcdConfigFile(
  component: Component,
): Promise<{ readonly component: Component; readonly problem?: FileNote }> {
  const file = component.name === 'etcd' ? flagValue(component.flags, 'config-file') : undefined;
  if (file === undefined) return { component };
  const flags = [{ name: 'config-file', value: file }];
  const path = component.hostPath(file);
  if (path === undefined) {
    const reason = '--config-file of etcd is not on the node';
    return { component: { ...component, flags }, problem: { path: file, reason } };
  }
  try {
    flags.push(...configFlags(await readText(path)));
    return { component: { ...component, flags } };
  } catch (error) {
    const reason = `--config-file of etcd ${describeError(error)}`;
    return { component: { ...component, flags }, problem: { path, reason } };
  }
}

/** The keys of the file have the names of the flags, except in the two parts about TLS. */
function configFlags(text: string): ComponentFlag[] {
  const result = v.safeParse(configSchema, parseDocuments(text).first ?? {});
  if (!result.success) throw new AgentError('CONFIG_INVALID', 'is not a map of settings');
  const {
    'client-transport-security': client,
    'peer-transport-security': peer,
    ...others
  } = result.output;
  return [...flagsIn(others), ...flagsIn(client ?? {}), ...flagsIn(peer ?? {}, 'peer-')];
}

function flagsIn(settings: Readonly<Record<string, unknown>>, prefix = ''): ComponentFlag[] {
  return Object.entries(settings).flatMap(([name, value]) =>
    typeof value === 'string' || typeof value === 'boolean' || typeof value === 'number'
      ? [{ name: `${prefix}${name}`, value: String(value) }]
      : [],
  );
}
