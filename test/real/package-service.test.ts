import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { stringify } from 'yaml';
import { parseExposition } from '../metrics/exposition.ts';
import { makeKubeadmTree } from '../pki/kubeadm-tree.ts';
import { parsePair } from '../support/agent.ts';
import { builtPackage, laterPackage, requirePackages } from '../support/built-packages.ts';
import { skipWithoutContainer } from '../support/container-root.ts';
import { Container } from '../support/nspawn.ts';
import {
  skipWithoutRealControlPlane,
  startRealControlPlane,
} from '../support/real-control-plane.ts';
import type { RealControlPlane } from '../support/real-control-plane.ts';

const service = 'nodecertd.service';
const configFile = '/etc/nodecertd/config.yaml';
const pki = '/var/lib/kubelet/pki';
const nodeName = 'worker-1';

const configuration = {
  apiVersion: 'nodecertd.io/v1alpha1',
  kind: 'AgentConfiguration',
  nodeName,
  bootstrapKubeconfig: '/etc/kubernetes/bootstrap.conf',
  certificates: [
    { name: 'kubelet-client', profile: 'kubelet-client' },
    { name: 'kubelet-server', profile: 'kubelet-serving' },
  ],
  metrics: { address: '127.0.0.1:0' },
};

/** Shortens the minutes of the unit for the test. */
const hurried = `[Service]
WatchdogSec=10s
RestartSec=1s
`;

const skip = skipWithoutContainer() || skipWithoutRealControlPlane();

/**
 * The installed service under systemd, with a real control plane. Each test continues
 * where the previous one ended.
 */
describe('the service on a node', { skip, timeout: 300_000 }, () => {
  let container: Container;
  let controlPlane: RealControlPlane;

  before(async () => {
    requirePackages();
    controlPlane = await startRealControlPlane({ signingSeconds: 3_600 });
    await controlPlane.setNodeAddresses(nodeName, [{ type: 'InternalIP', address: '192.0.2.7' }]);
    container = await Container.boot({ hostName: nodeName });
    await container.must('apt-get', 'install', '--yes', await container.take(builtPackage.file));
    await container.write(
      '/etc/kubernetes/bootstrap.conf',
      await controlPlane.bootstrapKubeconfig(),
      0o600,
    );
    await configure(configuration);
    await container.write(`/etc/systemd/system/${service}.d/hurried.conf`, hurried);
    await container.must('systemctl', 'daemon-reload');
  });
  after(async () => {
    await container?.[Symbol.asyncDispose]();
    await controlPlane?.[Symbol.asyncDispose]();
  });

  async function configure(content: object): Promise<void> {
    await container.write(configFile, stringify(content));
  }

  async function mainPid(): Promise<number> {
    return Number(await container.property(service, 'MainPID'));
  }

  async function serial(name: string): Promise<string> {
    return parsePair(await container.must('cat', `${pki}/${name}-current.pem`)).serialNumber;
  }

  async function untilStatus(pattern: RegExp): Promise<void> {
    await container.until(`STATUS= like ${pattern}`, async () => {
      const text = await container.property(service, 'StatusText');
      return pattern.test(text) ? text : undefined;
    });
  }

  async function untilRestarted(before: number): Promise<number> {
    return container.until('another main process', async () => {
      const pid = await mainPid();
      const state = await container.property(service, 'ActiveState');
      return pid !== 0 && pid !== before && state === 'active' ? pid : undefined;
    });
  }

  async function events(): Promise<readonly Record<string, unknown>[]> {
    return container.logged(service);
  }

  it('counts as started while its serving CSR is pending, and shows that', async () => {
    // Blocks until the service has sent READY=1.
    await container.must('systemctl', 'start', service);
    await serial('kubelet-client');
    const status = await container.must('systemctl', 'status', '--no-pager', '--lines=0', service);
    assert.match(status, /Active: active \(running\)/);
    assert.match(
      status,
      /Status: "kubelet-server: pending approval for \d+s \(approve with: kubectl certificate approve node-csr-[\w-]+\); 1 of 2 certificates valid, next rotation kubelet-client in /,
    );
    assert.equal(await container.property(service, 'Type'), 'notify');
    const [pending] = (await controlPlane.csrs()).filter(({ issued }) => !issued);
    await controlPlane.approve(pending?.name ?? '');
    await untilStatus(/^2 of 2 certificates valid, next rotation /);
  });

  it('runs without capabilities and cannot write outside its folders', async () => {
    const pid = await mainPid();
    const status = await container.must('cat', `/proc/${pid}/status`);
    assert.match(status, /^CapBnd:\s+0+$/m);
    assert.match(status, /^NoNewPrivs:\s+1$/m);
    assert.match(status, /^Seccomp:\s+2$/m);
    const limits = await container.must('cat', `/proc/${pid}/limits`);
    assert.match(limits, /^Max core file size\s+0\s+0\s/m);
    assert.equal(await container.property(service, 'MemorySwapMax'), '0');
    const inside = ['nsenter', '--target', String(pid), '--mount', '--', 'sh', '-c'];
    const writable = await container.must(
      ...inside,
      'for d in / /etc /etc/nodecertd /usr/lib/nodecertd /var/lib /var/lib/kubelet /etc/kubernetes /var/lib/kubelet/pki /var/lib/nodecertd /run/nodecertd; do if touch $d/.probe 2>/dev/null; then rm $d/.probe; echo $d; fi; done',
    );
    assert.deepEqual(writable.trim().split('\n'), [
      '/etc/kubernetes',
      '/var/lib/kubelet/pki',
      '/var/lib/nodecertd',
      '/run/nodecertd',
    ]);
    const exposure = await container.must('systemd-analyze', 'security', '--no-pager', service);
    const level = Number(/exposure level for .*: (\d\.\d)/.exec(exposure)?.[1]);
    assert.ok(level <= 1.5, exposure);
  });

  it('stays within the limits that the unit sets', async () => {
    const [high, most] = await Promise.all(
      ['MemoryHigh', 'TasksMax'].map(async (name) =>
        Number(await container.property(service, name)),
      ),
    );
    const status = await container.must('cat', `/proc/${await mainPid()}/status`);
    const figure = (name: string): number =>
      Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1]);
    // Half of each limit is for the enroller.
    assert.ok(figure('VmHWM') * 1024 < (high ?? 0) / 2, status);
    assert.ok(figure('Threads') < (most ?? 0) / 2, status);
  });

  it('exports the inventory of a control plane, from inside its sandbox', async () => {
    const root = '/etc/kubernetes';
    for (const [path, content] of await kubeadmFiles()) {
      await container.write(`${root}/${path}`, content, 0o600);
    }
    // Not visible to the service, so it must not be reported as unreadable.
    await container.must(
      'bash',
      '-ec',
      'umask 077; mkdir -p ~/.kube; printf malformed > ~/.kube/config',
    );
    await configure({ ...configuration, inventory: { enabled: true } });
    await container.must('systemctl', 'reload', service);
    const { samples } = await container.until('the inventory', async () => {
      const listening = (await events()).findLast(({ event }) => event === 'metrics_listening');
      const text = await (await fetch(`http://${String(listening?.['address'])}/metrics`)).text();
      return text.includes('nodecertd_inventory_last_scan') ? parseExposition(text) : undefined;
    });
    const rows = [...samples.keys()];
    const notAfter = rows.filter((row) => row.startsWith('nodecertd_inventory_not_after_'));
    for (const path of [
      `${root}/pki/apiserver.crt`,
      `${root}/admin.conf`,
      `${root}/kubelet.conf`,
      `${pki}/kubelet-client-current.pem`,
    ]) {
      assert.ok(
        notAfter.some((row) => row.includes(`place="${path}"`)),
        `${path}: ${notAfter.join('\n')}`,
      );
    }
    const states = rows.filter((row) => row.startsWith('nodecertd_inventory_state'));
    assert.deepEqual(
      states.filter((row) => !row.endsWith('state="ok"}')),
      [],
    );
    await configure(configuration);
    await container.must('systemctl', 'reload', service);
  });

  it('restarts after kill -9 with the same pairs', async () => {
    const before = await mainPid();
    const pairs = [await serial('kubelet-client'), await serial('kubelet-server')];
    await container.must('kill', '-9', String(before));
    await untilRestarted(before);
    await untilStatus(/^2 of 2 certificates valid/);
    assert.deepEqual([await serial('kubelet-client'), await serial('kubelet-server')], pairs);
    assert.equal((await controlPlane.csrs()).length, 2);
  });

  it('is restarted by the watchdog when it hangs', async () => {
    const before = await mainPid();
    await container.must('kill', '-STOP', String(before));
    await untilRestarted(before);
    const manager = await container.must('journalctl', '--boot', '--no-pager', '--unit', service);
    assert.match(manager, /Watchdog timeout/);
    await untilStatus(/^2 of 2 certificates valid/);
    assert.equal((await controlPlane.csrs()).length, 2);
  });

  it('rejects an invalid configuration at a reload and continues', async () => {
    const before = await mainPid();
    await configure({ ...configuration, certDir: '/elsewhere' });
    const { code } = await container.run('systemctl', 'reload', service);
    assert.notEqual(code, 0);
    const refusal = /config\.yaml:\d+: certDir: unknown key; did you mean "certificateDirectory"\?/;
    // systemctl may return before journald has written the last lines.
    await container.until(
      'the refusal in the journal',
      async () => refusal.exec(await container.journal(service)) ?? undefined,
    );
    assert.equal(await mainPid(), before);
    assert.equal(await container.property(service, 'ActiveState'), 'active');
    // The same must hold for a SIGHUP without systemctl.
    await container.must('kill', '-HUP', String(before));
    await container.until('config_refused', async () =>
      (await events()).find(({ event }) => event === 'config_refused'),
    );
    await untilStatus(/^2 of 2 certificates valid/);
    const bad = ['--boot', '--no-pager', '--output=cat', `--unit=${service}`, '--priority=err'];
    const errors = await container.must('journalctl', ...bad);
    assert.match(errors, /^\{.*"event":"config_refused"/m);
    assert.doesNotMatch(errors, /"level":"(?:debug|info|warn)"/);
  });

  it('applies a valid configuration at once, in the same process', async () => {
    const before = await mainPid();
    const third = {
      name: 'second-server',
      profile: 'kubelet-serving',
      addresses: { from: 'static', dnsNames: [nodeName], ipAddresses: ['192.0.2.7'] },
    };
    await configure({ ...configuration, certificates: [...configuration.certificates, third] });
    await container.must('systemctl', 'reload', service);
    await untilStatus(/^second-server: pending approval .*; 2 of 3 certificates valid/);
    assert.equal(await mainPid(), before);
  });

  it('counts a CSR that is pending during an upgrade, and requests again', async () => {
    const before = await mainPid();
    await container.must('apt-get', 'install', '--yes', await container.take(laterPackage.file));
    await untilRestarted(before);
    await untilStatus(/^second-server: pending approval .*; 2 of 3 certificates valid/);
    const left = (await events()).findLast(({ event }) => event === 'csr_unfinished');
    assert.deepEqual([left?.['certificate'], left?.['count']], ['second-server', 1]);
    const pending = (await controlPlane.csrs()).filter(({ issued }) => !issued);
    assert.equal(pending.length, 2);
    const created = (await events()).findLast(({ event }) => event === 'csr_created');
    await controlPlane.approve(String(created?.['csr']));
    await untilStatus(/^3 of 3 certificates valid/);
  });

  it('renews everything with one command, from root only', async () => {
    const old = await serial('kubelet-client');
    const renewed = await container.must('nodecertd', 'renew', 'kubelet-client');
    assert.match(renewed, /^kubelet-client +renewed /m);
    assert.notEqual(await serial('kubelet-client'), old);
    const other = await container.run('setpriv', '--reuid=65534', '--', 'nodecertd', 'renew');
    assert.equal(other.code, 1);
    assert.match(other.stderr, /permission|EACCES/i);
  });

  it('stops cleanly before a reboot and starts after it', async () => {
    const pairs = [await serial('kubelet-client'), await serial('second-server')];
    const asked = (await controlPlane.csrs()).length;
    await container.must('systemctl', 'enable', service);
    await container.reboot();
    await untilStatus(/^3 of 3 certificates valid/);
    assert.deepEqual([await serial('kubelet-client'), await serial('second-server')], pairs);
    assert.equal((await controlPlane.csrs()).length, asked);
  });

  it('reads the bootstrap kubeconfig from a systemd credential', async () => {
    await container.must('systemctl', 'stop', service);
    await container.must('rm', '-r', pki, '/etc/kubernetes/kubelet.conf');
    // systemd cannot set up its sandbox without the folder.
    await container.must('systemd-tmpfiles', '--create', 'nodecertd.conf');
    const dropIn = '/usr/share/doc/nodecertd/systemd/bootstrap-credential.conf';
    await container.must('cp', dropIn, `/etc/systemd/system/${service}.d/`);
    await container.must(
      'mv',
      '/etc/kubernetes/bootstrap.conf',
      '/etc/nodecertd/bootstrap-kubelet.conf',
    );
    const { bootstrapKubeconfig: _, ...without } = configuration;
    await configure({ ...without, certificates: configuration.certificates.slice(0, 1) });
    await container.must('systemctl', 'daemon-reload');
    await container.must('systemctl', 'start', service);
    await untilStatus(/^1 of 1 certificates valid/);
    await container.must('systemctl', 'reload', service);
    await untilStatus(/^1 of 1 certificates valid/);
  });

  it("keeps pairs and adopt's backup when the package is purged", async () => {
    const old = await serial('kubelet-client');
    const copies = '/var/lib/nodecertd/adopt/20261125T000000Z';
    await container.write(`${copies}/manifest.json`, '{}');
    const output = await container.must('apt-get', 'purge', '--yes', 'nodecertd');
    assert.match(output, /^The kubelet of this node was adopted by nodecertd/m);
    assert.equal(await serial('kubelet-client'), old);
    assert.equal(await container.must('ls', '/var/lib/nodecertd'), 'adopt\n');
    assert.ok(await container.has(`${copies}/manifest.json`));
    assert.equal(await container.property(service, 'LoadState'), 'not-found');
  });
});

/** The files of kubeadm on a control-plane node, by their paths below /etc/kubernetes. */
async function kubeadmFiles(): Promise<[string, string][]> {
  const directory = await mkdtemp(join(tmpdir(), 'nodecertd-tree-'));
  try {
    await makeKubeadmTree(directory, Date.now());
    const entries = await readdir(directory, { recursive: true, withFileTypes: true });
    const paths = entries.filter((entry) => entry.isFile());
    return await Promise.all(
      paths.map(async ({ parentPath, name }): Promise<[string, string]> => {
        const path = join(parentPath, name);
        return [relative(directory, path), await readFile(path, 'utf8')];
      }),
    );
  } finally {
    await rm(directory, { recursive: true });
  }
}
