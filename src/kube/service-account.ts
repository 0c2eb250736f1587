import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentError } from '../core/errors.ts';
import { formatHostPort } from '../core/host-port.ts';
import type { ClusterAccess } from './cluster-access.ts';

export interface ServiceAccountOptions {
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** The folder that the kubelet mounts into each container. */
  readonly folder?: string;
}

const standardFolder = '/var/run/secrets/kubernetes.io/serviceaccount';

/** Whether the kubelet has set the address of the API server for this process. */
export function isInPod(environment: Readonly<Record<string, string | undefined>>): boolean {
  return (environment['KUBERNETES_SERVICE_HOST'] ?? '') !== '';
}

/**
 * The API server and the service account of the pod in which this process runs (client-go
 * rest.InClusterConfig). The client reads the token again, because the kubelet renews it.
 * @throws AgentError KUBECONFIG_MISSING outside a pod
 */
export async function serviceAccountAccess({
  environment = process.env,
  folder = standardFolder,
}: ServiceAccountOptions = {}): Promise<ClusterAccess> {
  const { KUBERNETES_SERVICE_HOST: host = '', KUBERNETES_SERVICE_PORT: port = '443' } = environment;
  const file = join(folder, 'ca.crt');
  const pem = await readFile(file).catch(() => undefined);
  if (host === '' || pem === undefined) {
    throw new AgentError('KUBECONFIG_MISSING', 'this process does not run in a pod', {
      remedy: 'Name a kubeconfig with --kubeconfig',
    });
  }
  return {
    path: folder,
    cluster: {
      server: `https://${formatHostPort({ host, port })}`,
      certificateAuthority: { pem: new Uint8Array(pem), file },
      insecureSkipTlsVerify: false,
    },
    credential: { tokenFile: join(folder, 'token') },
    [Symbol.dispose]: () => undefined,
  };
}

/** The namespace of the pod; undefined outside a pod. */
export async function podNamespace(folder = standardFolder): Promise<string | undefined> {
  const text = await readFile(join(folder, 'namespace'), 'utf8').catch(() => '');
  return text.trim() || undefined;
}
