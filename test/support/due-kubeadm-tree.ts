import { readdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { hour, second } from '../../src/core/instant.ts';
import { ApiServer, sendJson } from '../kube/support/api-server.ts';
import { makeAuthority } from '../kube/support/certificates.ts';
import { handlers, LeaseApi } from '../kube/support/lease-api.ts';
import { RealKubeadmTree } from './kubeadm-tree.ts';

/**
 * The certificates of kubeadm on a node whose admin.conf leads to an API server with Leases, and
 * with this node as the only one. A third of their lifetime has passed.
 */
export class DueKubeadmTree implements AsyncDisposable {
  readonly tree: RealKubeadmTree;
  readonly api: ApiServer;
  readonly leases = new LeaseApi();

  private constructor(tree: RealKubeadmTree, api: ApiServer) {
    this.tree = tree;
    this.api = api;
  }

  static async create(nodeName: string): Promise<DueKubeadmTree> {
    // kubeadm dates notBefore back by five minutes.
    const tree = await RealKubeadmTree.create({ algorithm: 'ECDSA-P256', validity: '10m' });
    const read = (name: string): Promise<string> => readFile(join(tree.certificates, name), 'utf8');
    const api = await ApiServer.start(() => undefined, {
      authority: await makeAuthority('unused'),
      pair: { cert: await read('apiserver.crt'), key: await read('apiserver.key') },
    });
    const due = new DueKubeadmTree(tree, api);
    api.handler = due.#answer(nodeName);
    const admin = join(tree.kubernetes, 'admin.conf');
    const text = await readFile(admin, 'utf8');
    await writeFile(admin, text.replace(/server: .*/, `server: ${api.url}`));
    await age(tree.kubernetes);
    // In whole seconds, a new certificate has to end later than the one it replaces.
    await delay(second);
    return due;
  }

  #answer(name: string): ApiServer['handler'] {
    const items = [{ metadata: { name }, status: { addresses: [] } }];
    const ports = [{ name: 'https', port: this.api.port }];
    return handlers(this.leases.handle, ({ url = '' }, response) => {
      if (url.startsWith('/readyz')) response.end('ok');
      else if (url.startsWith('/api/v1/nodes')) sendJson(response, { items });
      else if (url.includes('/endpointslices/')) sendJson(response, { endpoints: [], ports });
      else return false;
      return true;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.api[Symbol.asyncDispose]();
    await this.tree[Symbol.asyncDispose]();
  }
}

/** The lifetime of a certificate counts from notBefore if its file is older. */
async function age(directory: string): Promise<void> {
  const time = new Date(Date.now() - hour);
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) await utimes(join(entry.parentPath, entry.name), time, time);
  }
}
