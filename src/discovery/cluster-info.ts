import * as v from 'valibot';
import { parseIfJson } from '../kube/body.ts';

/** The content of the ConfigMap kube-public/cluster-info. Nothing in it is trusted yet. */
export interface ClusterInfo {
  /** Empty if the ConfigMap has none. */
  readonly kubeconfig: string;
  /** By token id. */
  readonly signatures: ReadonlyMap<string, string>;
}

export const clusterInfoPath = '/api/v1/namespaces/kube-public/configmaps/cluster-info';

/** With the limit of kubeadm for the time that the API server may take. */
export const clusterInfoRequest = `${clusterInfoPath}?timeout=10s`;

/** The ConfigMap in JSON. */
export const clusterInfoSchema = v.pipe(
  v.object({
    kind: v.literal('ConfigMap'),
    apiVersion: v.literal('v1'),
    metadata: v.object({ name: v.literal('cluster-info'), namespace: v.literal('kube-public') }),
    data: v.nullish(v.record(v.string(), v.string()), {}),
  }),
  v.transform(({ data }): ClusterInfo => {
    const signatures = Object.entries(data).flatMap(([key, signature]): [string, string][] => {
      const id = /^jws-kubeconfig-([a-z0-9]{6})$/.exec(key)?.[1];
      return id === undefined ? [] : [[id, signature]];
    });
    return { kubeconfig: data['kubeconfig'] ?? '', signatures: new Map(signatures) };
  }),
);

/** Undefined for a body that is not this ConfigMap in JSON. */
export function parseClusterInfo(body: Buffer): ClusterInfo | undefined {
  const parsed = v.safeParse(clusterInfoSchema, parseIfJson(body));
  return parsed.success ? parsed.output : undefined;
}
