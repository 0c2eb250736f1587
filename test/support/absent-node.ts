import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { base64, kubeconfigText } from '../kube/support/api-server.ts';
import { client, serving, TestNode } from './agent.ts';
import type { RolloverPlane } from './rollover-plane.ts';

/**
 * A node that has joined with the old CA: it trusts this CA alone, and has a valid certificate from it.
 * Its agent is not started.
 */
export async function absentNode(
  { plane, oldCa }: RolloverPlane,
  name: string,
  { hasBootstrap = true }: { readonly hasBootstrap?: boolean } = {},
): Promise<TestNode> {
  await plane.setNodeAddresses(name, [{ type: 'InternalIP', address: '192.0.2.7' }]);
  const node = await TestNode.create(plane, name, { certificates: [client, serving] });
  const { certificatePem, keyPem } = await oldCa.issue({
    commonName: `system:node:${name}`,
    organizations: ['system:nodes'],
    usage: 'client auth',
  });
  await mkdir(node.pki, { recursive: true });
  const file = join(node.pki, 'kubelet-client-2026-01-01-00-00-00.pem');
  await writeFile(file, certificatePem + keyPem, { mode: 0o600 });
  const link = node.current('kubelet-client');
  await symlink(file, link);
  const cluster = {
    server: plane.server,
    'certificate-authority-data': base64(oldCa.certificatePem),
  };
  const user = { 'client-certificate': link, 'client-key': link };
  await writeFile(join(node.directory, 'kubelet.conf'), kubeconfigText({ cluster, user }), {
    mode: 0o600,
  });
  // kubeadm removes its own after the join.
  if (!hasBootstrap) await rm(join(node.directory, 'bootstrap.conf'));
  return node;
}
