import { renderChart } from './helm.ts';

export const namespace = 'kube-system';
export const label = 'app.kubernetes.io/name=nodecertd-approver';

/**
 * The chart with its default values. Pods of the tests' clusters cannot reach the addresses of
 * Services, because there is no kube-proxy. Each Pod uses the API server of its own node instead.
 */
export async function approverManifests(): Promise<string> {
  const env = [
    { name: 'KUBERNETES_SERVICE_HOST', valueFrom: { fieldRef: { fieldPath: 'status.hostIP' } } },
    { name: 'KUBERNETES_SERVICE_PORT', value: '6443' },
  ];
  return renderChart(namespace, '--set-json', `env=${JSON.stringify(env)}`);
}
