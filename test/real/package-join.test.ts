import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { parse, stringify } from 'yaml';
import { packagedUnit } from '../adopt/node-files.ts';
import { builtPackage, requirePackages } from '../support/built-packages.ts';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import { skipWithoutKubeadmCluster, startKubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { KubeadmNode } from '../support/kubeadm-node.ts';
import { scaled } from '../support/machine-speed.ts';

const kubernetes = '/etc/kubernetes';
const caFile = `${kubernetes}/pki/ca.crt`;
const bootstrapKubeconfig = `${kubernetes}/bootstrap-kubelet.conf`;
const tokenFile = `${kubernetes}/bootstrap-token`;
const servingLink = '/var/lib/kubelet/pki/kubelet-server-current.pem';
const agent = 'nodecertd.service';
const limit = scaled(120_000);

interface JoinLine {
  readonly endpoint: string;
  readonly token: string;
  readonly hash: string;
}

const skip = skipWithoutKubeadmCluster();

/** Follows "A node without kubeadm" in docs/install.md, on nodes that no kubeadm has touched. */
describe(
  'the service on a node that joins from nothing',
  { skip, timeout: scaled(600_000) },
  () => {
    let cluster: KubeadmCluster;
    before(async () => {
      requirePackages();
      cluster = await startKubeadmCluster({ controlPlanes: 1, workers: 0 });
    });
    after(async () => {
      await cluster?.[Symbol.asyncDispose]();
    });

    /** A machine with containerd, an enabled kubelet and the package, and without certificates. */
    async function freshNode(bootstrap: object): Promise<KubeadmNode> {
      const node = await cluster.bootNode('worker');
      const { container, address } = node;
      await container.must('dpkg', '--install', await container.take(builtPackage.file));
      const data = ['--output=jsonpath={.data.kubelet}'];
      const ofCluster = await cluster.kubectl(
        'get',
        'cm',
        '-n=kube-system',
        'kubelet-config',
        ...data,
      );
      const kubelet = {
        ...(parse(ofCluster) as object),
        rotateCertificates: false,
        serverTLSBootstrap: false,
        tlsCertFile: servingLink,
        tlsPrivateKeyFile: servingLink,
      };
      await container.write('/var/lib/kubelet/config.yaml', stringify(kubelet));
      const flags = `--config=/var/lib/kubelet/config.yaml --kubeconfig=${kubernetes}/kubelet.conf --node-ip=${address}`;
      const unit = packagedUnit
        .replace('/usr/bin/kubelet\n', `/usr/bin/kubelet ${flags}\n`)
        .replace('RestartSec=10', 'RestartSec=1');
      const units = '/usr/lib/systemd/system';
      await container.must('rm', '-r', `${units}/kubelet.service.d`);
      await container.write(`${units}/kubelet.service`, unit);
      const configuration = {
        apiVersion: 'nodecertd.io/v1alpha1',
        kind: 'AgentConfiguration',
        bootstrapKubeconfig,
        bootstrap,
      };
      await container.write('/etc/nodecertd/config.yaml', stringify(configuration));
      await container.must('systemctl', 'daemon-reload');
      await container.must('systemctl', 'enable', '--now', 'kubelet.service');
      return node;
    }

    /** The line that kubeadm prints for `kubeadm join`. */
    async function joinLine(): Promise<JoinLine & { readonly line: string }> {
      const { container } = cluster.node('control-plane-1');
      const command = ['token', 'create', '--ttl=30m', '--print-join-command'];
      const line = (await container.must('kubeadm', ...command)).trim();
      const found = /^kubeadm join (\S+) --token (\S+) +--discovery-token-ca-cert-hash (\S+)$/.exec(
        line,
      );
      const [, endpoint = '', token = '', hash = ''] = found ?? [];
      assert.ok(hash.startsWith('sha256:'), line);
      return { line, endpoint, token, hash };
    }

    /** Waits for both certificates, and approves the serving CSR as an administrator. */
    async function untilJoined({ name, container }: KubeadmNode): Promise<void> {
      const pending = async (): Promise<string | undefined> => {
        const lines = await cluster.kubectl('get', 'csr', '--no-headers');
        const row = lines
          .split('\n')
          .find(
            (line) => /kubelet-serving.*Pending/.test(line) && line.includes(`system:node:${name}`),
          );
        return row?.split(/\s+/)[0];
      };
      const csr = await container.until('a serving CSR', pending, limit);
      await cluster.kubectl('certificate', 'approve', csr);
      const isValid = async (): Promise<true | undefined> =>
        (await container.run('nodecertd', 'status')).code === 0 || undefined;
      await container.until('two valid certificates', isValid, limit);
      await cluster.kubectl('wait', '--for=condition=Ready', '--timeout=120s', `node/${name}`);
    }

    it('joins with two commands: discover, and the start of the service', async () => {
      const { line, token } = await joinLine();
      const node = await freshNode({ deleteAfterUse: true });
      const { container } = node;
      await container.write('/opt/line', line, 0o600);
      const discover = `nodecertd discover --join - --ca-file ${caFile} </opt/line && rm /opt/line`;
      await container.must('sh', '-c', discover);
      await container.must('systemctl', 'enable', '--now', agent);
      await untilJoined(node);
      assert.match(
        await container.read(`${kubernetes}/kubelet.conf`),
        /certificate-authority: \/etc\//,
      );
      await leavesNoToken(node, token);
    });

    it('joins with one command and bootstrap.discovery', async () => {
      const { endpoint, token, hash } = await joinLine();
      const discovery = { endpoints: [endpoint], tokenFile, caCertHashes: [hash] };
      const node = await freshNode({ discovery, deleteAfterUse: true });
      const { container } = node;
      const ca = await cluster.node('control-plane-1').container.read(caFile);
      await container.must('mkdir', '-p', `${kubernetes}/pki`);
      await container.write(caFile, ca);
      await container.write(tokenFile, `${token}\n`, 0o600);
      await container.must('systemctl', 'enable', '--now', agent);
      await untilJoined(node);
      await leavesNoToken(node, token);
      const events = (await container.logged(agent)).map(({ event }) => event);
      assert.ok(events.includes('cluster_discovered'));
    });
  },
);

/** The agent has removed the token, and has logged it nowhere. */
async function leavesNoToken({ container }: KubeadmNode, token: string): Promise<void> {
  const events = (await container.logged(agent)).map(({ event }) => event);
  assert.ok(events.includes('bootstrap_removed'));
  const secret = token.split('.')[1] ?? '';
  const places = [kubernetes, '/etc/nodecertd', '/var/lib/nodecertd', '/var/lib/kubelet/pki'];
  const { code, stdout } = await container.run('grep', '-rls', secret, ...places);
  assert.deepEqual([code, stdout], [1, '']);
  assert.ok(!(await container.must('journalctl', '--no-pager')).includes(secret));
}
