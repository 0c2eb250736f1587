import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';

export const namespace = 'kube-system';
export const label = 'app=nodecertd-approver';

/**
 * The shipped permissions, and a Deployment with one replica on each of two control planes. Pods
 * of the tests' clusters cannot reach the addresses of Services, because there is no kube-proxy.
 * Each Pod uses the API server of its own node instead.
 */
export async function approverManifests(image: string): Promise<string> {
  const shipped = fileURLToPath(new URL('../../config/approver/rbac.yaml', import.meta.url));
  return `${await readFile(shipped, 'utf8')}---\n${stringify(deployment(image))}`;
}

function deployment(image: string): object {
  const labels = { app: 'nodecertd-approver' };
  const metadata = { name: 'nodecertd-approver', namespace, labels };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata,
    spec: {
      replicas: 2,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: podSpec(image, labels) },
    },
  };
}

function podSpec(image: string, labels: object): object {
  const controlPlane = 'node-role.kubernetes.io/control-plane';
  const apart = { topologyKey: 'kubernetes.io/hostname', labelSelector: { matchLabels: labels } };
  return {
    serviceAccountName: 'nodecertd-approver',
    nodeSelector: { [controlPlane]: '' },
    tolerations: [{ key: controlPlane, operator: 'Exists', effect: 'NoSchedule' }],
    affinity: { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [apart] } },
    securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
    containers: [
      {
        name: 'approver',
        image,
        imagePullPolicy: 'Never',
        args: ['approver', '--metrics-address', '0.0.0.0:9472'],
        env: [
          {
            name: 'KUBERNETES_SERVICE_HOST',
            valueFrom: { fieldRef: { fieldPath: 'status.hostIP' } },
          },
          { name: 'KUBERNETES_SERVICE_PORT', value: '6443' },
        ],
        readinessProbe: { httpGet: { path: '/readyz', port: 9_472 }, periodSeconds: 1 },
        securityContext: {
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        },
      },
    ],
  };
}
