import { stringify } from 'yaml';
import type { PemPair } from './ca.ts';

export interface Endpoint {
  readonly server: string;
  readonly caPem: string;
}

/** A kubeconfig with a bearer token, as YAML. */
export function tokenKubeconfig(endpoint: Endpoint, token: string): string {
  return kubeconfig(endpoint, 'kubelet-bootstrap', { token });
}

/** A kubeconfig with a client certificate inside, as YAML. */
export function certificateKubeconfig(endpoint: Endpoint, pair: PemPair): string {
  return kubeconfig(endpoint, 'sandbox-admin', {
    'client-certificate-data': base64(pair.certificate),
    'client-key-data': base64(pair.key),
  });
}

function kubeconfig({ server, caPem }: Endpoint, userName: string, user: object): string {
  const context = `${userName}@sandbox`;
  return stringify(
    {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [
        { name: 'sandbox', cluster: { server, 'certificate-authority-data': base64(caPem) } },
      ],
      users: [{ name: userName, user }],
      contexts: [{ name: context, context: { cluster: 'sandbox', user: userName } }],
      'current-context': context,
    },
    { lineWidth: 0 },
  );
}

function base64(text: string): string {
  return Buffer.from(text, 'latin1').toString('base64');
}
