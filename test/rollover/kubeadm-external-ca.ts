import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Probed } from '../support/api-prober.ts';
import { startApiProber } from '../support/api-prober.ts';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { KubeadmNode } from '../support/kubeadm-node.ts';
import { scaled } from '../support/machine-speed.ts';
import {
  nodecertd,
  reissue,
  startTrustCluster,
  syncNodes,
  timed,
  waitFor,
} from './kubeadm-rollover.ts';
import type { Report, Scenario } from './scenario.ts';

const run = promisify(execFile);

/**
 * Replaces an external CA of a cluster that kubeadm made, with the commands of docs/ca-rollover.md. The keys of
 * both CAs are on another machine, which also signs the CSRs of the cluster.
 */
export const kubeadmExternalCa: Scenario = {
  name: 'kubeadm-external-ca',
  isShort: false,
  async run(report) {
    await using cluster = await startTrustCluster(report, { controlPlanes: 1, workers: 1 });
    const node = cluster.node('control-plane-1');
    await using owner = await Owner.of(node);
    await cluster.untilReady();
    report('no key of the CA is on the node');
    await replace({ cluster, node, owner }, report);
    await requireNew(node, owner);
    await cluster.untilReady();
    const isComplete = async (): Promise<true | undefined> =>
      (await nodecertd(node, ['ca-rollover', 'status'])).code === 0 || undefined;
    await node.container.until('one CA', isComplete, 120_000);
  },
};

interface Stage {
  readonly cluster: KubeadmCluster;
  readonly node: KubeadmNode;
  readonly owner: Owner;
}

async function replace({ cluster, node, owner }: Stage, report: Report): Promise<void> {
  const { container } = node;
  const [trust = '', publish = '', request = '', take = '', finish = ''] = await commands();
  const walk = async (name: string, script: string): Promise<void> =>
    timed(name, report, async () => {
      // Without a terminal, the import needs the answer. It exits with 3 while another CSR is pending.
      const answered = script.replace(/--import \S+/g, '--yes $& || [ $? -eq 3 ]');
      await container.must('bash', '-ec', `mkdir -p ${folder}\ncd ${folder}\n${answered}`);
    });
  using prober = await startApiProber(cluster);
  await owner.create(node);
  await walk('trust', `${trust}\n${publish}`);
  await cluster.untilReady();
  await syncNodes(cluster);
  await untilOpen(node, ['G2', 'G3', 'G4']);
  await walk('CSRs', request);
  await owner.signRequests(node);
  const began = Date.now();
  await walk('switch', take);
  const bridged = Date.now() + reloadMs;
  await owner.signing(cluster, async () => reissue(cluster));
  await waitFor(node, 'droppable', report);
  requireConnections(await prober.stop(), { began, bridged }, report);
  await walk('finish', `${finish}\n${await finishInCluster()}`);
  await cluster.untilReady();
  await syncNodes(cluster);
}

/** Where the administrator of the node runs the commands. */
const folder = '/opt/renewal';

/** kube-apiserver serves a changed certificate within this time. */
const reloadMs = scaled(2_000);

/** A client with the old CA alone had connections except before the bridge was in place. */
function requireConnections(
  { failures, requests }: Probed,
  { began, bridged }: { readonly began: number; readonly bridged: number },
  report: Report,
): void {
  const early = failures.filter((line) => {
    const at = Date.parse((JSON.parse(line) as { readonly at: string }).at);
    return at >= began && at <= bridged;
  });
  report(`${requests} new connections with the old CA, ${early.length} failed before the bridge`);
  assert.deepEqual(
    failures.filter((line) => !early.includes(line)),
    [],
  );
}

/** The blocks of the section about an external CA. */
async function commands(): Promise<readonly string[]> {
  return blocksOf(/^## An external CA$(.*?)^## /ms);
}

/** The commands for the last node in *finish*. */
async function finishInCluster(): Promise<string> {
  return (await blocksOf(/^### 6\. Finish$(.*?)^####? /ms)).at(-1) ?? '';
}

async function blocksOf(section: RegExp): Promise<readonly string[]> {
  const page = await readFile(join(import.meta.dirname, '../../docs/ca-rollover.md'), 'utf8');
  const [, text = ''] = section.exec(page) ?? [];
  const blocks = [...text.matchAll(/```sh\n(.*?)```/gs)].map(([, block = '']) => block);
  assert.ok(blocks.length > 0);
  return blocks;
}

interface Shown {
  readonly gates: readonly { readonly id: string; readonly state: string }[];
}

async function untilOpen(node: KubeadmNode, ids: readonly string[]): Promise<void> {
  const areOpen = async (): Promise<true | undefined> => {
    const { stdout } = await nodecertd(node, ['ca-rollover', 'status', '-o', 'json']);
    const { gates } = JSON.parse(stdout) as Shown;
    const open = gates.filter(({ id, state }) => ids.includes(id) && state === 'open');
    return open.length === ids.length || undefined;
  };
  await node.container.until(ids.join(), areOpen, 120_000);
}

/** Everything on the node verifies with the new CA alone. */
async function requireNew({ container }: KubeadmNode, owner: Owner): Promise<void> {
  const served = await container.must('bash', '-ec', 'cd /etc/kubernetes/pki; ls ca*; cat ca.crt');
  assert.equal(served, `ca.crt\n${await owner.newCa()}`);
  const verification = 'openssl verify -CAfile ca.crt apiserver.crt apiserver-kubelet-client.crt';
  await container.must('bash', '-ec', `cd /etc/kubernetes/pki; ${verification}`);
  await container.must('kubeadm', 'certs', 'check-expiration');
}

/** Has the keys of both CAs, in a folder of this machine. */
class Owner implements AsyncDisposable {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** The node then is as after `kubeadm init` without the key. */
  static async of({ container }: KubeadmNode): Promise<Owner> {
    const owner = new Owner(await mkdtemp(join(tmpdir(), 'nodecertd-owner-')));
    for (const name of ['ca.crt', 'ca.key']) {
      const text = await container.read(`/etc/kubernetes/pki/${name}`);
      await writeFile(join(owner.#folder, name), text, { mode: 0o600 });
    }
    await owner.#shell(`cat > signer.cnf << END
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, digitalSignature, keyEncipherment, keyCertSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[kubelet]
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
END`);
    await container.must('bash', '-ec', withoutKey);
    return owner;
  }

  /** The new CA and the bridge, which the node gets without the key. */
  async create({ container }: KubeadmNode): Promise<void> {
    await this.#shell(`
openssl req -new -newkey rsa:2048 -nodes -keyout new.key -subj '/CN=kubernetes 2' -out new.csr
openssl x509 -req -in new.csr -signkey new.key -days 365 -extfile signer.cnf -extensions ca -out new.crt
openssl x509 -req -in new.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 300 -extfile signer.cnf -extensions ca -out bridge.crt`);
    await container.write('/etc/kubernetes/pki/ca-next.crt', await this.newCa());
    await container.write('/etc/kubernetes/pki/ca-bridge.crt', await this.#read('bridge.crt'));
  }

  async newCa(): Promise<string> {
    return this.#read('new.crt');
  }

  /** Signs the CSRs of the control plane. */
  async signRequests({ container }: KubeadmNode): Promise<void> {
    const names = await container.must(
      'bash',
      '-ec',
      `cd ${folder}; mkdir signed; cd csr; ls *.csr`,
    );
    for (const name of names.split('\n').filter(Boolean)) {
      await writeFile(join(this.#folder, name), await container.read(`${folder}/csr/${name}`));
      await this.#shell(`openssl x509 -req -in ${name} ${byNew} -copy_extensions copy -out issued`);
      const path = `${folder}/signed/${name.replace(/\.csr$/, '.crt')}`;
      await container.write(path, await this.#read('issued'));
    }
  }

  /** Signs the approved CSRs of the cluster while the work lasts. */
  async signing(cluster: KubeadmCluster, work: () => Promise<void>): Promise<void> {
    const end = new AbortController();
    const signed = this.#sign(cluster, end.signal);
    try {
      await work();
    } finally {
      end.abort();
      await signed;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#folder, { recursive: true });
  }

  async #sign(cluster: KubeadmCluster, end: AbortSignal): Promise<void> {
    while (!end.aborted) {
      const { items } = JSON.parse(await cluster.kubectl('get', 'csr', '-o=json')) as List;
      for (const csr of items.filter(isApproved)) await this.#issue(cluster, csr);
      await delay(500);
    }
  }

  async #issue(cluster: KubeadmCluster, csr: Csr): Promise<void> {
    await writeFile(join(this.#folder, 'node.csr'), Buffer.from(csr.spec.request, 'base64'));
    await this.#shell(
      `openssl x509 -req -in node.csr ${byNew} -extfile signer.cnf -extensions kubelet -out issued`,
    );
    const certificate = Buffer.from(await this.#read('issued')).toString('base64');
    const { container } = cluster.node('control-plane-1');
    const issued = { ...csr, status: { ...csr.status, certificate } };
    await container.write('/run/issued.json', JSON.stringify(issued));
    const path = `/apis/certificates.k8s.io/v1/certificatesigningrequests/${csr.metadata.name}/status`;
    await cluster.kubectl('replace', '--raw', path, '-f', '/run/issued.json');
  }

  async #read(name: string): Promise<string> {
    return readFile(join(this.#folder, name), 'utf8');
  }

  async #shell(script: string): Promise<void> {
    await run('bash', ['-ec', script], { cwd: this.#folder });
  }
}

const byNew = '-CA new.crt -CAkey new.key -CAcreateserial -days 365';

/** kubeadm sets no files for signing if the key is missing. */
const withoutKey = `
rm /etc/kubernetes/pki/ca.key
cd /etc/kubernetes/manifests
sed -e 's#\\(--cluster-signing-\\(cert\\|key\\)-file=\\).*#\\1#' kube-controller-manager.yaml > ../kube-controller-manager.yaml
chmod 600 ../kube-controller-manager.yaml
mv ../kube-controller-manager.yaml .
until crictl inspect $(crictl ps --quiet --name kube-controller-manager) 2> /dev/null | grep -q -e '--cluster-signing-cert-file="'; do sleep 1; done
until kubectl --server https://127.0.0.1:10257 --insecure-skip-tls-verify get --raw /healthz > /dev/null 2>&1; do sleep 1; done`;

interface Csr {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly request: string };
  readonly status: {
    readonly conditions?: readonly { readonly type: string }[];
    readonly certificate?: string;
  };
}

interface List {
  readonly items: readonly Csr[];
}

function isApproved({ status: { conditions = [], certificate } }: Csr): boolean {
  return certificate === undefined && conditions.some(({ type }) => type === 'Approved');
}
