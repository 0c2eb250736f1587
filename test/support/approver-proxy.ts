import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Issuer } from '../fault/api/issuer.ts';
import { keyPairOf } from '../fault/api/proxied-node.ts';
import type { ApproverPlane } from './approver-plane.ts';
import { approverKubeconfig } from './approver-plane.ts';
import { FaultProxy } from './fault-proxy.ts';

export interface ApproverProxy {
  readonly proxy: FaultProxy;
  /** Of the approver, with the proxy as its API server. */
  readonly kubeconfig: string;
}

/** A proxy between approvers and the API server of the plane. */
export async function startApproverProxy(cluster: ApproverPlane): Promise<ApproverProxy> {
  const { server, caPem } = cluster.plane;
  const issuer = await Issuer.create();
  const proxy = await FaultProxy.start({
    server,
    caPem,
    admin: keyPairOf(await cluster.plane.adminKubeconfig()),
    clientCas: [],
    serving: await issuer.serving('known'),
  });
  const path = join(cluster.folder, 'proxied.conf');
  const at = { server: proxy.server, caPem: issuer.caPem };
  await writeFile(path, await approverKubeconfig(cluster.plane, at));
  return { proxy, kubeconfig: path };
}
