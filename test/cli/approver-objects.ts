import { formatInstant } from '../../src/core/instant.ts';
import { createdAt, n1Addresses } from '../approver/cluster.ts';
import type { RequestParts } from '../approver/requests.ts';
import { requestPem } from '../approver/requests.ts';

/** Objects as `kubectl get -o json` shows them. */

export function csrObject(
  request: RequestParts = {},
  {
    name = 'csr-1',
    condition,
    username = 'system:node:n1',
    at = createdAt,
  }: {
    readonly name?: string;
    readonly condition?: 'Approved' | 'Denied';
    readonly username?: string;
    readonly at?: number;
  } = {},
) {
  return {
    apiVersion: 'certificates.k8s.io/v1',
    kind: 'CertificateSigningRequest',
    metadata: {
      name,
      uid: `uid-${name}`,
      resourceVersion: '200',
      creationTimestamp: formatInstant(at),
    },
    spec: {
      request: Buffer.from(requestPem(request)).toString('base64'),
      signerName: 'kubernetes.io/kubelet-serving',
      username,
      groups: ['system:nodes', 'system:authenticated'],
      usages: ['digital signature', 'server auth'],
    },
    status: condition === undefined ? {} : { conditions: [{ type: condition, status: 'True' }] },
  };
}

export function nodeObject(name = 'n1') {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name,
      uid: `uid-${name}`,
      resourceVersion: '100',
      creationTimestamp: formatInstant(createdAt),
    },
    spec: {},
    status: { addresses: n1Addresses },
  };
}
