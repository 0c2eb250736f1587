import { join } from 'node:path';
import type { CaName } from '../../../src/trust/control-plane/task.ts';
import { authorityOf } from '../../pki/renewal/openssl-authority.ts';
import { makeKubeadmTree, writePair } from '../../pki/renewal/renewal-tree.ts';
import { writeManifests, writeNextAuthority } from '../../trust/control-plane/rollover-tree.ts';
import { Runtime } from './runtime.ts';

/** A control-plane node after the step `create`. */
export async function makeNode(root: string, ca: CaName): Promise<void> {
  const tree = await makeKubeadmTree(root);
  await writeManifests(tree);
  if (ca === 'kubernetes') await writeNextAuthority(tree, tree.authorities.ca);
  else
    await writePair(join(tree.certificates, nextFiles[ca]), authorityOf({ subject: '/CN=next' }));
  new Runtime(root).boot();
}

const nextFiles = { etcd: 'etcd/ca-next.crt', 'front-proxy': 'front-proxy-ca-next.crt' } as const;
