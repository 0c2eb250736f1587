import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { stringify } from 'yaml';
import { read, section } from '../docs/pages.ts';
import type { LiveCsr } from '../support/approver-plane.ts';
import { builtPackage, requirePackages } from '../support/built-packages.ts';
import { skipWithoutKubeadmCluster, startKubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { Container } from '../support/nspawn.ts';

const service = 'nodecertd-approver.service';
const kubeconfig = '/etc/nodecertd/approver.conf';
const node = 'control-plane-1';

type Line = Readonly<Record<string, unknown>>;

interface ServingCsr extends LiveCsr {
  readonly spec: { readonly signerName: string; readonly username: string };
}

const skip = skipWithoutKubeadmCluster();

/**
 * Follows docs/approver.md on a control plane of kubeadm, with its kubelet. Each test continues
 * where the previous one ended.
 */
describe('the service of the approver on a node of kubeadm', { skip, timeout: 600_000 }, () => {
  let cluster: KubeadmCluster;
  let container: Container;

  before(async () => {
    requirePackages();
    cluster = await startKubeadmCluster({ controlPlanes: 1, workers: 0 });
    ({ container } = cluster.node(node));
    await container.must('apt-get', 'install', '--yes', await container.take(builtPackage.file));
  });
  after(async () => {
    await cluster?.[Symbol.asyncDispose]();
  });

  async function configure(keys: object, file = '/etc/nodecertd/policy.yaml'): Promise<void> {
    const head = { apiVersion: 'nodecertd.io/v1alpha1', kind: 'ApproverPolicy' };
    await container.write(file, stringify({ ...head, ...keys }));
  }

  /** The holder of the Lease; empty after a release. */
  async function holder(): Promise<string> {
    const lease = ['lease', 'nodecertd-approver', '--namespace=kube-system'];
    return cluster.kubectl('get', ...lease, '--output=jsonpath={.spec.holderIdentity}');
  }

  /** The line with this event number `nth`. */
  async function logged(event: string, nth = 1): Promise<Line> {
    return container.until(`line ${nth} of ${event}`, async () => {
      const lines = await container.logged(service);
      return lines.filter((line) => line['event'] === event)[nth - 1];
    });
  }

  async function servingCsrs(): Promise<readonly ServingCsr[]> {
    const text = await cluster.kubectl('get', 'csr', '--output=json');
    const { items } = JSON.parse(text) as { readonly items: readonly ServingCsr[] };
    return items.filter(({ spec }) => spec.signerName === 'kubernetes.io/kubelet-serving');
  }

  it('is installed without being enabled or started, and does not start without a kubeconfig', async () => {
    assert.equal((await container.run('systemctl', 'is-enabled', service)).stdout, 'disabled\n');
    assert.equal(await container.property(service, 'ActiveState'), 'inactive');
    assert.equal(await container.property(service, 'NRestarts'), '0');
    const { code } = await container.run('systemctl', 'start', service);
    assert.notEqual(code, 0);
    // The journal does not always know the unit of the line with the reason, whose process ends at once.
    assert.match(await container.journal(service), /status=243\/CREDENTIALS/);
    await container.must('systemctl', 'stop', service);
  });

  it('leads after the commands of the page', async () => {
    await configure({}, '/opt/policy.yaml');
    const environment = ['--chdir=/opt', 'KUBECONFIG=/etc/kubernetes/admin.conf'];
    await container.must('env', ...environment, 'bash', '-ec', await commands());
    assert.equal((await container.run('systemctl', 'is-enabled', service)).stdout, 'enabled\n');
    await logged('approver_leading');
    assert.match(await holder(), new RegExp(`^${node}_`));
    const mode = await container.must('stat', '--format=%a %U', kubeconfig);
    assert.equal(mode, '600 root\n');
  });

  it('approves the serving CSR of the kubelet, and the signer issues', async () => {
    const file = '/var/lib/kubelet/config.yaml';
    await container.write(file, `${await container.read(file)}serverTLSBootstrap: true\n`);
    await container.must('systemctl', 'restart', 'kubelet');
    const { csr } = await logged('csr_decided');
    const issued = await container.until('a certificate', async () => {
      return (await servingCsrs()).find(({ metadata, status }) => {
        return metadata.name === csr && status.certificate !== undefined;
      });
    });
    const { spec, status } = issued;
    assert.equal(spec.username, `system:node:${node}`);
    assert.deepEqual(
      status.conditions?.map(({ type, reason }) => `${type} ${reason}`),
      ['Approved ServingPolicyPassed'],
    );
    const certificate = new X509Certificate(Buffer.from(status.certificate ?? '', 'base64'));
    assert.ok(certificate.checkIP(cluster.node(node).address) !== undefined);
  });

  it('runs as another user, without capabilities, and reads only the copy of its kubeconfig', async () => {
    const pid = await container.property(service, 'MainPID');
    const status = await container.must('cat', `/proc/${pid}/status`);
    assert.match(status, /^Uid:\s+[1-9]\d*\s/m);
    assert.match(status, /^CapBnd:\s+0+$/m);
    assert.match(status, /^NoNewPrivs:\s+1$/m);
    assert.match(status, /^Seccomp:\s+2$/m);
    assert.match(
      await container.must('cat', `/proc/${pid}/limits`),
      /^Max core file size\s+0\s+0\s/m,
    );
    const user = /^Uid:\s+(\d+)/m.exec(status)?.[1] ?? '';
    const inside = ['nsenter', '--target', pid, '--mount', '--', 'setpriv', `--reuid=${user}`];
    const probe = [...inside, '--clear-groups', 'sh', '-c'];
    const copy = `/run/credentials/${service}/approver.conf`;
    assert.equal((await container.run(...probe, `test -r ${kubeconfig}`)).code, 1);
    assert.equal((await container.run(...probe, `test -r ${copy}`)).code, 0);
    const folders = `/ /etc /etc/nodecertd /usr/lib/nodecertd /var/lib /run /run/credentials/${service}`;
    const write = `for d in ${folders}; do if touch $d/.probe 2>/dev/null; then echo $d; fi; done`;
    assert.equal(await container.must(...probe, write), '');
    const exposure = await container.must('systemd-analyze', 'security', '--no-pager', service);
    const level = Number(/exposure level for .*: (\d\.\d)/.exec(exposure)?.[1]);
    assert.ok(level <= 1.2, exposure);
  });

  it('reads the policy again at a reload, and keeps it if the new one is invalid', async () => {
    await configure({ mode: 'approve-only', deniedNames: [] });
    await container.must('systemctl', 'reload', service);
    const { error } = await logged('policy_refused');
    assert.match(String(error), /policy\.yaml:\d+: .*deniedNames/);
    const before = (await servingCsrs()).map(({ metadata }) => metadata.name);
    await configure({
      mode: 'approve-only',
      allowedDomains: ['nodes.example.com'],
      deniedCIDRs: ['0.0.0.0/0'],
    });
    await container.must('systemctl', 'reload', service);
    assert.equal((await logged('policy_reloaded'))['mode'], 'approve-only');
    // Without its certificate, the kubelet requests one at once.
    await container.must('sh', '-c', 'rm /var/lib/kubelet/pki/kubelet-server-*');
    await container.must('systemctl', 'restart', 'kubelet');
    const { csr, reason } = await logged('csr_held');
    assert.ok(!before.includes(String(csr)));
    assert.equal(reason, 'AddressNotAllowed');
    await configure({});
    await container.must('systemctl', 'reload', service);
    assert.equal((await logged('csr_decided', 2))['csr'], csr);
  });

  it('starts again after a crash, and leads again', async () => {
    const before = await container.property(service, 'MainPID');
    const restarts = Number(await container.property(service, 'NRestarts'));
    await container.must('systemctl', 'kill', '--signal=SIGKILL', service);
    await container.until('another process', async () => {
      const pid = await container.property(service, 'MainPID');
      return (pid !== '0' && pid !== before) || undefined;
    });
    await logged('approver_leading', 2);
    assert.equal(await container.property(service, 'NRestarts'), String(restarts + 1));
  });

  it('releases the Lease when it is stopped', async () => {
    assert.notEqual(await holder(), '');
    await container.must('systemctl', 'stop', service);
    assert.equal(await holder(), '');
    assert.equal(await container.property(service, 'Result'), 'success');
    assert.equal(await container.property(service, 'ActiveState'), 'inactive');
  });
});

/** The commands for control-plane nodes. */
async function commands(): Promise<string> {
  const text = section(await read('docs/approver.md'), 'Install on control-plane nodes');
  const [, block = ''] = /```sh\n([\s\S]*?)```/.exec(text) ?? [];
  assert.notEqual(block, '');
  return block;
}
