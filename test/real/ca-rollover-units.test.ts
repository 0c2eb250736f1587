import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { skipWithoutContainer } from '../support/container-root.ts';
import { skipWithoutKubeadm } from '../support/kubeadm.ts';
import { scaled } from '../support/machine-speed.ts';
import { skipWithout } from '../support/programs.ts';
import {
  adminKubeconfig,
  kubectlProgram as kubectl,
  UnitControlPlane,
} from '../support/unit-control-plane.ts';

/** `ca-rollover apply` on a control plane of systemd units, without a kubelet and without a Node. */

const skip = skipWithoutContainer() || skipWithoutKubeadm() || skipWithout('ip');
const pki = '/etc/kubernetes/pki';
const manager = 'kube-controller-manager.service';
const dropIns = `/etc/systemd/system/${manager}.d`;
const dropIn = `${dropIns}/zz-nodecertd.conf`;

describe('ca-rollover apply with systemd units', { skip, timeout: scaled(1_800_000) }, () => {
  let plane: UnitControlPlane;
  before(async () => {
    plane = await UnitControlPlane.start();
  });
  after(async () => plane?.[Symbol.asyncDispose]());

  async function apply(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await run(...args);
    assert.equal(code, 0, `${args.join(' ')}: ${stdout}${stderr}`);
    return stdout;
  }

  async function run(...args: readonly string[]) {
    const ca = args.includes('--ca') ? [] : ['--ca', 'kubernetes'];
    return plane.nodecertd('ca-rollover', 'apply', ...args, ...ca, '--yes');
  }

  /** Of the components that read the CA of etcd. */
  async function etcdPids(): Promise<string[]> {
    return [await plane.mainPid('etcd'), await plane.mainPid('kube-apiserver')];
  }

  /** Also that both processes are other ones than before. */
  async function requireRestarts(before: readonly string[]): Promise<void> {
    const now = await etcdPids();
    for (const [at, pid] of now.entries()) assert.notEqual(pid, before[at]);
    await plane.untilReady();
  }

  /** The certificates of etcd, of kube-apiserver and of its clients are from the only CA. */
  async function requireIssued(ca: string, ...leaves: readonly string[]): Promise<void> {
    const paths = leaves.map((leaf) => `${leaf}.crt`);
    await plane.container.must(
      'bash',
      '-ec',
      `cd ${pki}; openssl verify -CAfile ${ca} ${paths.join(' ')}`,
    );
    const count = await plane.container.must('grep', '-c', 'BEGIN CERTIFICATE', `${pki}/${ca}`);
    assert.equal(count, '1\n');
  }

  /** Every file of the control plane and of the drop-in, without the copies of nodecertd. */
  async function files(): Promise<string> {
    const find = `find /etc/kubernetes ${dropIns} -type f -not -path '*/.nodecertd*' | sort`;
    return plane.container.must('bash', '-c', `${find} | xargs sha256sum`);
  }

  async function managerCommand(): Promise<string> {
    const pid = await plane.mainPid('kube-controller-manager');
    return (await plane.container.read(`/proc/${pid}/cmdline`)).replaceAll('\0', ' ');
  }

  /** kube-controller-manager issues a certificate, which the API server accepts. */
  async function requireSigning(issuer: RegExp): Promise<void> {
    await plane.container.must('bash', '-ec', requestScript);
    const until = ['--for=jsonpath={.status.certificate}', '--timeout=60s'];
    await plane.kubectl('wait', 'csr/probe', ...until);
    const script = `${kubectl} --kubeconfig ${adminKubeconfig} get csr probe -o 'jsonpath={.status.certificate}' | base64 -d > /tmp/probe.crt; openssl x509 -noout -issuer -in /tmp/probe.crt; ${kubectl} --kubeconfig /dev/null --server https://192.0.2.1:6443 --certificate-authority ${pki}/ca.crt --client-certificate /tmp/probe.crt --client-key /tmp/probe.key auth whoami`;
    const output = await plane.container.must('bash', '-ec', script);
    assert.match(output, issuer);
    assert.match(output, /Username +probe/);
  }

  it('undoes the step trust, byte for byte', async () => {
    await apply('create');
    const [before, command] = [await files(), await managerCommand()];
    await apply('trust');
    assert.notEqual(await files(), before);
    const rest = command.split(' ').filter((word) => !word.includes('/ca.'));
    const changed = await managerCommand();
    for (const word of rest) assert.ok(changed.includes(word), word);
    assert.match(changed, / --root-ca-file=\/etc\/kubernetes\/pki\/ca-bundle\.crt $/);
    await requireSigning(/issuer=CN = kubernetes$/m);
    await apply('trust', '--undo');
    assert.equal(await files(), before);
    assert.equal(await managerCommand(), command);
    await requireSigning(/issuer=CN = kubernetes$/m);
  });

  it('restores the files if kube-controller-manager does not start', async () => {
    const before = await files();
    const fails = `[Service]\nExecStartPre=/usr/bin/test ! -e ${dropIn}\n`;
    await plane.container.write(`${dropIns}/fails.conf`, fails);
    const { code, stdout, stderr } = await run('trust');
    assert.equal(code, 1, stdout);
    assert.match(stdout + stderr, /previous files of kube-controller-manager are in place/);
    assert.equal(await plane.container.has(dropIn), false);
    await plane.container.must('rm', `${dropIns}/fails.conf`);
    await requireSigning(/issuer=CN = kubernetes$/m);
    await apply('trust', '--undo');
    assert.equal(await files(), before);
  });

  it('replaces the CA without a failed request', async () => {
    const pids = await etcdPids();
    const command = await managerCommand();
    using prober = await plane.probe();
    await apply('trust');
    await waitFor('union');
    await apply('switch');
    await apply('switch', '--undo');
    await requireSigning(/issuer=CN = kubernetes$/m);
    await apply('switch');
    await requireSigning(/issuer=CN = kubernetes \d{4}-\d\d$/m);
    const { failures, requests } = await prober.stop();
    assert.deepEqual(failures, []);
    assert.ok(requests > 0);
    assert.deepEqual(await etcdPids(), pids);
    // Otherwise G7 waits six minutes for its connections to kubelets.
    await plane.container.must('systemctl', 'restart', 'kube-apiserver');
    await plane.untilReady();
    await waitFor('droppable', '--clients-ok');
    await apply('finish', '--clients-ok', '--old-key', 'destroy');
    assert.equal(await plane.container.has(dropIn), false);
    assert.equal(await managerCommand(), command);
    await requireSigning(/issuer=CN = kubernetes \d{4}-\d\d$/m);
    const left = await plane.container.must('bash', '-c', `cd ${pki}; echo ca*`);
    assert.equal(left, 'ca.crt ca.key\n');
  });

  it('replaces the CA of etcd, and restarts etcd and kube-apiserver in trust and finish', async () => {
    const ca = ['--ca', 'etcd'];
    const interrupted = [...ca, '--accept-etcd-interruption'];
    await apply('create', ...ca);
    const before = await files();
    const { code, stdout } = await run('trust', ...ca);
    assert.equal(code, 3, stdout);
    assert.match(stdout, /E1 members: etcd has 1 member,/);
    let pids = await etcdPids();
    await apply('trust', ...interrupted);
    await requireRestarts(pids);
    pids = await etcdPids();
    await apply('trust', '--undo', ...interrupted);
    assert.equal(await files(), before);
    await requireRestarts(pids);
    await apply('trust', ...interrupted);
    pids = await etcdPids();
    await apply('switch', ...ca);
    await apply('switch', '--undo', ...ca);
    await apply('switch', ...ca);
    assert.deepEqual(await etcdPids(), pids);
    await apply('finish', ...interrupted, '--clients-ok', '--old-key', 'destroy');
    await requireRestarts(pids);
    const leaves = ['etcd/server', 'etcd/peer', 'etcd/healthcheck-client', 'apiserver-etcd-client'];
    await requireIssued('etcd/ca.crt', ...leaves);
    await plane.kubectl('create', 'configmap', 'after-etcd');
  });

  it('replaces the CA of the front proxy without a restart', async () => {
    const ca = ['--ca', 'front-proxy'];
    await apply('create', ...ca);
    const before = await files();
    const pids = await etcdPids();
    await apply('trust', ...ca);
    await apply('trust', '--undo', ...ca);
    assert.equal(await files(), before);
    await apply('trust', ...ca);
    await apply('switch', ...ca);
    await apply('finish', ...ca, '--old-key', 'destroy');
    assert.deepEqual(await etcdPids(), pids);
    await requireIssued('front-proxy-ca.crt', 'front-proxy-client');
  });

  async function waitFor(goal: string, ...options: readonly string[]): Promise<void> {
    const args = ['ca-rollover', 'wait', '--for', goal, '--timeout', '5m', ...options];
    const { code, stdout, stderr } = await plane.nodecertd(...args);
    assert.equal(code, 0, `${goal}: ${stdout}${stderr}`);
  }
});

const requestScript = `
export KUBECONFIG=${adminKubeconfig}
${kubectl} delete csr probe --ignore-not-found
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /tmp/probe.key -subj /CN=probe -out /tmp/probe.csr
${kubectl} create -f - << END
{ apiVersion: certificates.k8s.io/v1, kind: CertificateSigningRequest, metadata: { name: probe }, spec: { request: $(base64 -w0 /tmp/probe.csr), signerName: kubernetes.io/kube-apiserver-client, usages: [digital signature, client auth] } }
END
${kubectl} certificate approve probe
`;
