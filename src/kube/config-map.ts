import * as v from 'valibot';
import { AgentError, hasCode } from '../core/errors.ts';
import type { KubeClient } from './rest-client.ts';

type Client = Pick<KubeClient, 'request'>;

export interface ConfigMapName {
  readonly namespace: string;
  readonly name: string;
}

export interface ConfigMap {
  /** Changes with each write, so a change of an outdated object fails with API_CONFLICT. */
  readonly resourceVersion: string;
  readonly data: Readonly<Record<string, string>>;
}

const schema = v.pipe(
  v.object({
    metadata: v.object({ resourceVersion: v.string() }),
    data: v.nullish(v.record(v.string(), v.string()), {}),
  }),
  v.transform(({ metadata, data }): ConfigMap => ({
    resourceVersion: metadata.resourceVersion,
    data,
  })),
);

/** Undefined if there is no such ConfigMap. @throws AgentError as KubeClient.request */
export async function readConfigMap(
  client: Client,
  name: ConfigMapName,
  signal: AbortSignal,
): Promise<ConfigMap | undefined> {
  try {
    return await client.request({ verb: 'get', path: configMapPath(name), signal }, schema);
  } catch (error) {
    if (hasCode(error, 'API_NOT_FOUND')) return undefined;
    throw error;
  }
}

/** @throws AgentError API_NOT_FOUND if there is no such ConfigMap; as KubeClient.request */
async function requireConfigMap(
  client: Client,
  name: ConfigMapName,
  signal: AbortSignal,
): Promise<ConfigMap> {
  const found = await readConfigMap(client, name, signal);
  if (found !== undefined) return found;
  throw new AgentError('API_NOT_FOUND', `the ConfigMap ${configMapName(name)} does not exist`);
}

export interface ConfigMapChange {
  /** The keys to write, with their values. Everything else stays. */
  readonly edit: (data: ConfigMap['data']) => Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

const mostAttempts = 5;

/**
 * Changes keys of a ConfigMap. Reads it again if another client has changed it in between.
 * @throws AgentError API_NOT_FOUND; as KubeClient.request
 */
export async function updateConfigMap(
  client: Client,
  name: ConfigMapName,
  { edit, signal }: ConfigMapChange,
): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    const { resourceVersion, data } = await requireConfigMap(client, name, signal);
    const body = { metadata: { resourceVersion }, data: edit(data) };
    try {
      await client.request({ verb: 'patch', path: configMapPath(name), body, signal }, v.unknown());
      return;
    } catch (error) {
      if (!hasCode(error, 'API_CONFLICT') || attempt === mostAttempts) throw error;
    }
  }
}

/** As in `kube-public/cluster-info`. */
export function configMapName({ namespace, name }: ConfigMapName): string {
  return `${namespace}/${name}`;
}

export function configMapPath({ namespace, name }: ConfigMapName): string {
  return `/api/v1/namespaces/${namespace}/configmaps/${name}`;
}
