import * as v from 'valibot';
import { hasCode } from '../core/errors.ts';
import type { KubeClient } from './rest-client.ts';

type Client = Pick<KubeClient, 'request'>;

/** The API server leaves out the content, which may be secret. */
const metadataOnly = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1';

/** @throws AgentError as KubeClient.request */
export async function objectExists(
  client: Client,
  path: string,
  signal: AbortSignal,
): Promise<boolean> {
  const get = { verb: 'get', path, accept: metadataOnly, signal } as const;
  return unlessAbsent(client.request(get, v.unknown()));
}

/** Does nothing if there is no such object. @throws AgentError as KubeClient.request */
export async function deleteObject(
  client: Client,
  path: string,
  signal: AbortSignal,
): Promise<void> {
  await unlessAbsent(client.request({ verb: 'delete', path, signal }, v.unknown()));
}

async function unlessAbsent(request: Promise<unknown>): Promise<boolean> {
  try {
    await request;
    return true;
  } catch (error) {
    if (hasCode(error, 'API_NOT_FOUND')) return false;
    throw error;
  }
}
