import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { KubeadmNode } from '../support/kubeadm-node.ts';
import { scaled } from '../support/machine-speed.ts';
import { AppliedRollover } from './applied-rollover.ts';
import {
  mustApply,
  requireNewCa,
  startTrustCluster,
  syncNodes,
  timed,
  waitFor,
} from './kubeadm-rollover.ts';
import type { Scenario } from './scenario.ts';

/**
 * A worker is off from before `trust` until after `finish --keep-absent-nodes`. Its agent recovers
 * without a person, and a second `finish` then removes the old CA.
 */
export const kubeadmAbsentWorker: Scenario = {
  name: 'kubeadm-absent-worker',
  isShort: false,
  async run(report) {
    await using cluster = await startTrustCluster(report, { controlPlanes: 1, workers: 1 });
    const [node, absent] = [cluster.node('control-plane-1'), cluster.node('worker-1')];
    await installEarlierPairs(absent, node);
    await adoptKubelet(absent);
    assert.deepEqual(await requestsOf(cluster, absent), []);
    report(`the agent keeps the certificates of ${absent.name}`);
    await absent.container.stop();
    const gone = ['--for=condition=Ready=Unknown', '--timeout=120s', `node/${absent.name}`];
    await cluster.kubectl('wait', ...gone);

    const gates = ['--except', absent.name];
    const rollover = await AppliedRollover.plan(cluster, report, { gates });
    await rollover.create();
    await rollover.trust();
    await rollover.union();
    await rollover.switch();
    await rollover.restartServers();
    await rollover.reissue();
    const finish = ['finish', '--clients-ok', '--old-key', 'destroy'];
    const keeping = [...finish, ...gates, '--keep-absent-nodes'];
    await mustApply(node, report, ...keeping);
    await requireKept(node);
    assert.match(await configurationOf(cluster), /client-ca-file\n\s*value: .*ca-clients\.crt/);
    await node.container.must('nodecertd', 'certs', 'renew', 'apiserver', '--yes');
    await requireKept(node);
    // kubeadm renews the certificate without the bridge.
    await node.container.must('kubeadm', 'certs', 'renew', 'apiserver');
    await mustApply(node, report, ...keeping);
    await requireKept(node);

    await approving(node, async () => {
      await timed(`the return of ${absent.name}`, report, async () => {
        await absent.container.start();
        await untilReissued(absent, node);
        await cluster.untilReady();
      });
    });
    const requests = await requestsOf(cluster, absent);
    report(`${absent.name} requested ${requests.length} certificates`);
    assert.ok(requests.length <= 2 * leaves.length, requests.join());

    await waitFor(node, 'reissued', report);
    await mustApply(node, report, ...finish);
    await requireNewCa(cluster);
    assert.doesNotMatch(await manifestOf(node), /ca-clients/);
    assert.doesNotMatch(await configurationOf(cluster), /ca-clients/);
    await syncNodes({ nodes: [node] });
    await rollover.requireGreen();
  },
};

const leaves = ['kubelet-client', 'kubelet-server'];

const agentUnit = join(import.meta.dirname, '../../systemd/nodecertd.service');

const configuration = `apiVersion: nodecertd.io/v1alpha1
kind: AgentConfiguration
trust:
  enabled: true
  externalize: true
  reissueSpread: 10s
`;

/**
 * The agent requests a certificate again an hour after its issue at the earliest, so the kubelet gets
 * certificates from the CA of the cluster that are older than that.
 */
async function installEarlierPairs(
  { name, address, container }: KubeadmNode,
  { container: signer }: KubeadmNode,
): Promise<void> {
  await signer.must('bash', '-ec', issueEarlier({ name, address }));
  for (const leaf of leaves) {
    const pem = `/run/${leaf}.pem`;
    await container.write(pem, await signer.read(pem), 0o600);
    await signer.must('rm', pem);
  }
  await container.must('bash', '-ec', takeEarlier);
}

const issuedAt = '3 hours ago';

/** `openssl x509` of this version takes no start of the validity. */
function issueEarlier({ name, address }: Pick<KubeadmNode, 'name' | 'address'>): string {
  return `
cd "$(mktemp -d)"
umask 077
touch index
cat > ca.cnf << END
[ca]
default_ca = cluster
[cluster]
certificate = /etc/kubernetes/pki/ca.crt
private_key = /etc/kubernetes/pki/ca.key
database = index
new_certs_dir = .
rand_serial = yes
unique_subject = no
default_md = sha256
default_days = 365
policy = subject
[subject]
organizationName = supplied
commonName = supplied
[kubelet-client]
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
[kubelet-server]
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:${name}, IP:${address}
END
for leaf in ${leaves.join(' ')}; do
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $leaf.key -subj '/O=system:nodes/CN=system:node:${name}' -out $leaf.csr
  openssl ca -batch -notext -config ca.cnf -extensions $leaf -startdate $(date -u -d '${issuedAt}' +%Y%m%d%H%M%SZ) -in $leaf.csr -out $leaf.crt
  cat $leaf.crt $leaf.key > /run/$leaf.pem
done
rm -r "$PWD"`;
}

const takeEarlier = `
systemctl stop kubelet
cd /var/lib/kubelet/pki
rm kubelet-client-*
for leaf in ${leaves.join(' ')}; do
  file=$PWD/$leaf-$(date -u -d '${issuedAt}' +%Y-%m-%d-%H-%M-%S).pem
  mv /run/$leaf.pem $file
  touch -d '${issuedAt}' $file
  ln -s $file $leaf-current.pem
done
systemctl start kubelet`;

/** The agent runs as the service of the package, and the kubelet uses its certificates. */
async function adoptKubelet({ container }: KubeadmNode): Promise<void> {
  const unit = await readFile(agentUnit, 'utf8');
  // The boot of the container waits for the start of each unit, which here does not wait for the agent.
  const text = unit
    .replaceAll('/usr/bin/nodecertd', '/usr/local/bin/nodecertd')
    .replace('Type=notify', 'Type=exec');
  await container.write('/etc/systemd/system/nodecertd.service', text);
  await container.write('/etc/nodecertd/config.yaml', configuration);
  await container.must('systemctl', 'daemon-reload');
  await container.must('systemctl', 'enable', '--now', 'nodecertd.service');
  const isValid = async (): Promise<true | undefined> =>
    (await container.run('nodecertd', 'status')).code === 0 || undefined;
  await container.until('valid certificates', isValid, scaled(120_000));
  await container.must('nodecertd', 'adopt', '--yes', '--restart');
}

/** While the work lasts, an approver approves the serving CSRs of kubelets. */
async function approving({ container }: KubeadmNode, work: () => Promise<void>): Promise<void> {
  const program = ['nodecertd', 'approver', '--kubeconfig', '/etc/kubernetes/admin.conf'];
  await container.must('systemd-run', '--unit=approver', '--collect', ...program);
  await work();
  await container.must('systemctl', 'stop', 'approver');
}

/** kube-apiserver accepts clients of both CAs, and the key of the old CA is gone. */
async function requireKept(node: KubeadmNode): Promise<void> {
  const { container } = node;
  const files = await container.must('bash', '-ec', 'cd /etc/kubernetes/pki; ls ca*');
  assert.equal(files, 'ca-bridge.crt\nca-clients.crt\nca.crt\nca.key\n');
  const counts = 'grep --count "BEGIN CERTIFICATE" ca.crt ca-clients.crt apiserver.crt';
  assert.equal(
    await container.must('bash', '-ec', `cd /etc/kubernetes/pki; ${counts}`),
    'ca.crt:1\nca-clients.crt:2\napiserver.crt:2\n',
  );
  const copies = 'find /etc/kubernetes/.nodecertd-rollover -name "*.key" | wc -l';
  assert.equal(await container.must('bash', '-ec', copies), '0\n');
  assert.match(await manifestOf(node), /--client-ca-file=\/etc\/kubernetes\/pki\/ca-clients\.crt/);
}

/** The new CA has issued both certificates of the kubelet. */
async function untilReissued({ container }: KubeadmNode, node: KubeadmNode): Promise<void> {
  const authority = '/opt/new-ca.crt';
  await container.write(authority, await node.container.read('/etc/kubernetes/pki/ca.crt'));
  const paths = leaves.map((name) => `/var/lib/kubelet/pki/${name}-current.pem`);
  const isReissued = async (): Promise<true | undefined> => {
    const checked = paths.map((path) => `openssl verify -CAfile ${authority} ${path}`);
    return (await container.run('bash', '-ec', checked.join('\n'))).code === 0 || undefined;
  };
  await container.until('certificates from the new CA', isReissued, scaled(900_000));
}

/** The names of the CSRs that the node has created. */
async function requestsOf(cluster: KubeadmCluster, { name }: KubeadmNode): Promise<string[]> {
  const text = await cluster.kubectl('get', 'csr', '--output=json');
  const { items } = JSON.parse(text) as {
    readonly items: readonly {
      readonly metadata: { readonly name: string };
      readonly spec: { readonly username: string };
    }[];
  };
  const own = items.filter(({ spec }) => spec.username === `system:node:${name}`);
  return own.map(({ metadata }) => metadata.name);
}

async function manifestOf({ container }: KubeadmNode): Promise<string> {
  return container.read('/etc/kubernetes/manifests/kube-apiserver.yaml');
}

async function configurationOf(cluster: KubeadmCluster): Promise<string> {
  return cluster.kubectl('-n=kube-system', 'get', 'configmap', 'kubeadm-config', '-o=yaml');
}
