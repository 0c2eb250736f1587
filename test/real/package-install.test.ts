import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { stringify } from 'yaml';
import { parsePair } from '../support/agent.ts';
import { builtPackage, laterPackage, requirePackages } from '../support/built-packages.ts';
import type { BuiltPackage } from '../support/built-packages.ts';
import { skipWithoutContainer } from '../support/container-root.ts';
import type { ControlPlane } from '../support/control-plane.ts';
import { Container } from '../support/nspawn.ts';
import { startSandboxControlPlane } from '../support/sandbox-control-plane.ts';
import { proposals } from '../support/shell-proposals.ts';

const service = 'nodecertd.service';
const clientPair = '/var/lib/kubelet/pki/kubelet-client-current.pem';
const configFile = '/etc/nodecertd/config.yaml';
const hour = 3_600;

/** The life of the package on one machine. Each test continues where the previous one ended. */
describe('the package on a machine', { skip: skipWithoutContainer(), timeout: 240_000 }, () => {
  let container: Container;
  let controlPlane: ControlPlane;
  let firstPair = '';

  before(async () => {
    requirePackages();
    controlPlane = await startSandboxControlPlane({
      signingSeconds: hour,
      approvingServing: true,
    });
    await controlPlane.setNodeAddresses('worker-1', [{ type: 'InternalIP', address: '192.0.2.7' }]);
    container = await Container.boot({ hostName: 'worker-1' });
  });
  after(async () => {
    await container?.[Symbol.asyncDispose]();
    await controlPlane?.[Symbol.asyncDispose]();
  });

  async function install({ file }: BuiltPackage): Promise<string> {
    const inside = await container.take(file);
    return container.must('apt-get', 'install', '--yes', inside);
  }

  /** Installs the same version again, which dpkg treats as an upgrade. */
  async function reinstall({ file }: BuiltPackage): Promise<string> {
    const inside = await container.take(file);
    return container.must('apt-get', 'install', '--yes', '--reinstall', inside);
  }

  async function state(): Promise<readonly string[]> {
    return Promise.all(
      ['UnitFileState', 'ActiveState'].map((name) => container.property(service, name)),
    );
  }

  /** Reads the certificate as a consumer does. The pair must be complete and valid. */
  async function clientSerial(): Promise<string> {
    return parsePair(await container.must('cat', clientPair)).serialNumber;
  }

  /** Waits until an agent of this version reports that both pairs are valid. */
  async function untilAllIsWell({ version }: BuiltPackage): Promise<void> {
    await container.until(`nodecertd ${version} with valid pairs`, async () => {
      const { code, stdout } = await container.run('nodecertd', 'status', '-o', 'json');
      if (code !== 0) return undefined;
      const { agent } = JSON.parse(stdout) as { agent?: { version: string } };
      return agent?.version === version ? true : undefined;
    });
  }

  it('install starts nothing, keeps folders, and prints the next steps', async () => {
    await container.must('mkdir', '-p', '-m', '0700', '/var/lib/kubelet/pki');
    const { code } = await container.run('node', '--version');
    assert.notEqual(code, 0, 'this machine has a Node of its own');

    const output = await install(builtPackage);
    assert.match(output, /^nodecertd is installed, but neither enabled nor started/m);
    assert.match(output, /^ {2}systemctl enable --now nodecertd$/m);
    assert.deepEqual(await state(), ['disabled', 'inactive']);
    const modes = await container.must(
      'stat',
      '-c',
      '%a',
      '/var/lib/kubelet/pki',
      '/etc/kubernetes',
    );
    assert.equal(modes, '700\n755\n');
    assert.equal(
      await container.must('find', '/var/lib/kubelet', '/etc/kubernetes', '-type', 'f'),
      '',
    );
    assert.equal(await container.has('/var/lib/nodecertd'), false);
    assert.equal(await container.must('dpkg', '--verify', 'nodecertd'), '');
  });

  it('the program runs from PATH, and man finds every page', async () => {
    const version = JSON.parse(await container.must('nodecertd', 'version', '-o', 'json')) as {
      version: string;
    };
    assert.equal(version.version, builtPackage.version);
    for (const page of ['nodecertd', 'nodecertd-run', 'nodecertd-doctor']) {
      const { stdout, stderr } = await container.run('man', '--warnings', page);
      assert.equal(stderr, '');
      assert.match(stdout, new RegExp(`^NAME\\n +${page} - `, 'm'));
    }
    assert.match(
      await container.must('man', '--whatis', 'nodecertd-status'),
      /show each certificate/,
    );
  });

  for (const shell of ['bash', 'zsh', 'fish'] as const) {
    it(`${shell} completes commands, options, values and files`, async () => {
      const expectations = [
        ['nodecertd st', 'status'],
        ['nodecertd run --log-f', '--log-format'],
        ['nodecertd status -o ', 'json', 'table', 'yaml'],
        ['nodecertd help r', 'renew', 'run'],
        ['nodecertd run --config /etc/nodecertd/c', 'config.yaml'],
        ['nodecertd run --cert-dir /etc/nodecert', 'nodecertd'],
      ] as const;
      for (const [line, ...expected] of expectations) {
        const words = await proposals(container, shell, line);
        // Some shells propose complete paths, and some repeat a proposal.
        const names = words.map((word) => word.replace(/\/$/, '').replace(/^.*\//, ''));
        assert.deepEqual([...new Set(names)].toSorted(), expected, line);
      }
    });
  }

  it('the enabled service bootstraps and uses its compile cache unchanged', async () => {
    await container.write(
      '/etc/kubernetes/bootstrap.conf',
      await controlPlane.bootstrapKubeconfig(),
      0o600,
    );
    await container.write(
      configFile,
      stringify({
        apiVersion: 'nodecertd.io/v1alpha1',
        kind: 'AgentConfiguration',
        bootstrapKubeconfig: '/etc/kubernetes/bootstrap.conf',
        metrics: { address: '127.0.0.1:0' },
      }),
    );
    await container.write(
      `/etc/systemd/system/${service}.d/cache.conf`,
      '[Service]\nEnvironment=NODE_DEBUG_NATIVE=COMPILE_CACHE\n',
    );
    await container.must('systemctl', 'daemon-reload');
    await container.must('systemctl', 'enable', '--now', service);
    await untilAllIsWell(builtPackage);
    assert.deepEqual(await state(), ['enabled', 'active']);
    assert.match(
      await container.must('systemctl', 'status', '--no-pager', service),
      /Active: active/,
    );
    firstPair = await clientSerial();

    const journal = await container.journal(service);
    assert.ok((journal.match(/code cache .* was accepted/g)?.length ?? 0) > 20, journal);
    assert.doesNotMatch(journal, /was (?:rejected|not initialized)/);
    await container.must('rm', '-r', `/etc/systemd/system/${service}.d`);
    await container.must('systemctl', 'daemon-reload');
    assert.deepEqual(await changedFiles(), [`/usr/lib/nodecertd: 0`]);
  });

  /** Files that belong to no package. Commands that root runs must not leave any, either. */
  async function changedFiles(): Promise<string[]> {
    await container.run('nodecertd', 'doctor');
    await container.run('nodecertd', '--help');
    const verified = await container.must('sh', '-c', 'dpkg --verify nodecertd; true');
    const strangers = await container.must(
      'sh',
      '-c',
      'find /usr/lib/nodecertd -type f | grep -cvxFf /var/lib/dpkg/info/nodecertd.list; true',
    );
    // The administrator has changed the configuration, which dpkg marks with c.
    const changed = verified.split('\n').filter((line) => line !== '' && !line.includes(' c '));
    return [...changed, `/usr/lib/nodecertd: ${strangers.trim()}`];
  }

  it('an upgrade restarts the service and keeps pair and configuration', async () => {
    const before = await container.property(service, 'MainPID');
    const configuration = await container.read(configFile);
    await install(laterPackage);
    await untilAllIsWell(laterPackage);
    assert.notEqual(await container.property(service, 'MainPID'), before);
    assert.equal(await clientSerial(), firstPair);
    assert.equal(await container.read(configFile), configuration);
    assert.deepEqual(await state(), ['enabled', 'active']);
    assert.deepEqual(await changedFiles(), ['/usr/lib/nodecertd: 0']);
  });

  it('the service starts after a reboot with the same pair', async () => {
    await container.reboot();
    await untilAllIsWell(laterPackage);
    assert.equal(await clientSerial(), firstPair);
  });

  it('an upgrade does not start a stopped and disabled service', async () => {
    await container.must('systemctl', 'disable', '--now', service);
    await reinstall(laterPackage);
    assert.deepEqual(await state(), ['disabled', 'inactive']);
  });

  it('an upgrade restarts a running service that is not enabled', async () => {
    await container.must('systemctl', 'start', service);
    const before = await container.property(service, 'MainPID');
    await reinstall(laterPackage);
    await untilAllIsWell(laterPackage);
    assert.notEqual(await container.property(service, 'MainPID'), before);
    assert.deepEqual(await state(), ['disabled', 'active']);
    await container.must('systemctl', 'enable', service);
  });

  it('removal stops the service and keeps pairs, state and configuration', async () => {
    const pid = await container.property(service, 'MainPID');
    await container.must('apt-get', 'remove', '--yes', 'nodecertd');
    assert.equal(await container.has(`/proc/${pid}`), false);
    assert.equal(await container.property(service, 'LoadState'), 'not-found');
    for (const path of ['/usr/bin/nodecertd', '/usr/lib/nodecertd', '/usr/share/doc/nodecertd']) {
      assert.equal(await container.has(path), false, path);
    }
    for (const path of [
      configFile,
      '/var/lib/nodecertd/state.json',
      '/etc/kubernetes/kubelet.conf',
    ]) {
      assert.equal(await container.has(path), true, path);
    }
    assert.equal(await clientSerial(), firstPair);
  });

  it('the service continues after it is installed again', async () => {
    const output = await install(laterPackage);
    assert.doesNotMatch(output, /neither enabled nor started/);
    await untilAllIsWell(laterPackage);
    assert.equal(await clientSerial(), firstPair);
  });

  it("a purge keeps the kubelet's files and nothing else", async () => {
    await container.must('apt-get', 'purge', '--yes', 'nodecertd');
    // man keeps its formatted pages for a while.
    const places = ['/etc', '/usr', '/var/lib', '/run'];
    const left = await container.must('find', ...places, '-xdev', '-name', '*nodecertd*');
    assert.equal(left, '/var/lib/kubelet/pki/.nodecertd.lock\n');
    assert.equal(await clientSerial(), firstPair);
    assert.equal(await container.has('/etc/kubernetes/kubelet.conf'), true);
  });
});
