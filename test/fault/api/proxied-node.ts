import { mkdir, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { day, second } from '../../../src/core/instant.ts';
import { pairFile } from '../../../src/store/pair-names.ts';
import { client, servingStatic, TestNode } from '../../support/agent.ts';
import type { KeyPair } from '../../support/cluster-pki.ts';
import type { ControlPlane } from '../../support/control-plane.ts';
import { kubeconfig } from '../../support/real-components.ts';
import type { Situation } from './fault.ts';
import type { Issuer } from './issuer.ts';

/** Of thirty days, this is past every deadline and leaves two days. */
const age = 28 * day;

export interface ProxiedNodeOptions {
  readonly controlPlane: ControlPlane;
  readonly issuer: Issuer;
  readonly name: string;
  readonly situation: Situation;
  /** Whether the node has a serving certificate, too. */
  readonly serving: boolean;
  /** The address of the API server in its kubeconfigs. */
  readonly server: string;
}

/** Creates a node whose kubeconfigs point to the proxy, empty or with a pair that is due. */
export async function createProxiedNode(options: ProxiedNodeOptions): Promise<TestNode> {
  const { controlPlane, issuer, name, situation, server } = options;
  const node = await TestNode.create(controlPlane, name, {
    // Keeps every stored pair, for the checks at the end.
    store: { acceptVolatileDirectory: true, previousPairs: 5 },
    certificates: [client, ...(options.serving ? [servingStatic] : [])],
  });
  // The proxy's CA for the connection, and the cluster's CA for certificates.
  const caPem = `${issuer.caPem}${controlPlane.caPem}`;
  const token = userOf(await controlPlane.bootstrapKubeconfig())['token'] ?? '';
  const bootstrap = kubeconfig({ server, caPem, user: { token } });
  await writeFile(join(node.directory, 'bootstrap.conf'), bootstrap, { mode: 0o600 });
  if (situation === 'bootstrap') return node;
  const link = node.current(client.name);
  const user = { 'client-certificate': link, 'client-key': link };
  await writeFile(join(node.directory, 'kubelet.conf'), kubeconfig({ server, caPem, user }), {
    mode: 0o600,
  });
  await placePair(node, await issuer.client(name, age));
  return node;
}

async function placePair(node: TestNode, { certificatePem, keyPem }: KeyPair): Promise<void> {
  const issued = Date.now() - age;
  const path = join(node.pki, pairFile(client.name, issued));
  await mkdir(node.pki);
  await writeFile(path, `${certificatePem}${keyPem}`, { mode: 0o600 });
  await utimes(path, issued / second, issued / second);
  await symlink(path, node.current(client.name));
}

/** Returns the administrator's certificate from a kubeconfig. */
export function keyPairOf(text: string): KeyPair {
  const user = userOf(text);
  const field = (name: string): string => Buffer.from(user[name] ?? '', 'base64').toString();
  return {
    certificatePem: field('client-certificate-data'),
    keyPem: field('client-key-data'),
  };
}

function userOf(text: string): Readonly<Record<string, string>> {
  const { users } = parse(text) as { users: { user: Record<string, string> }[] };
  return users[0]?.user ?? {};
}
