import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readFile, readdir, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { parse, stringify } from 'yaml';
import type { TestAgent } from '../support/agent.ts';
import { client, servingStatic, TestNode } from '../support/agent.ts';
import type { ControlPlane } from '../support/control-plane.ts';
import { doctorReport, findingOf } from '../support/doctor.ts';
import { scaled } from '../support/machine-speed.ts';
import { startSandboxControlPlane } from '../support/sandbox-control-plane.ts';
import { TlsServer } from '../support/tls-server.ts';

const run = promisify(execFile);
const main = join(import.meta.dirname, '../../src/main.ts');
const server = 'kubelet-server';

/**
 * A node with a server that serves the node's serving pair, and a hook that makes the
 * server reload the pair.
 */
class ServedNode implements AsyncDisposable {
  readonly directory: string;
  readonly server: TlsServer;
  readonly node: TestNode;

  private constructor(parts: Pick<ServedNode, 'directory' | 'server' | 'node'>) {
    this.directory = parts.directory;
    this.server = parts.server;
    this.node = parts.node;
  }

  static async create(
    controlPlane: ControlPlane,
    name: string,
    keys: (server: TlsServer, directory: string) => Record<string, unknown>,
  ): Promise<ServedNode> {
    const directory = await mkdtemp(join(tmpdir(), `nodecertd-e2e-${name}-server-`));
    const link = join(directory, 'pair.pem');
    const tlsServer = await TlsServer.start(link);
    const certificates = [client, { ...servingStatic, ...keys(tlsServer, directory) }];
    const node = await TestNode.create(controlPlane, name, { certificates });
    await run('ln', ['-s', node.current(server), link]);
    return new ServedNode({ directory, server: tlsServer, node });
  }

  /** The lines that the hooks have written. */
  async traces(): Promise<string[]> {
    return (await readFile(join(this.directory, 'log'), 'utf8')).trim().split('\n');
  }

  async onDisk(): Promise<string> {
    return (await this.node.read(server)).serialNumber;
  }

  async renew(): Promise<void> {
    const args = ['renew', server, '--config', this.node.configFile, '--timeout', '0s'];
    await run(process.execPath, [main, ...args]);
  }

  async status(): Promise<string> {
    const args = ['status', '--config', this.node.configFile];
    const { stdout } = await run(process.execPath, [main, ...args]).catch(
      (error: { stdout: string }) => error,
    );
    return stdout;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.node[Symbol.asyncDispose]();
    await this.server[Symbol.asyncDispose]();
    await rm(this.directory, { recursive: true });
  }
}

const served = ({ port }: TlsServer): Record<string, unknown> => ({
  endpoints: [`127.0.0.1:${port}`, `localhost:${port}`],
  within: `${scaled(1)}s`,
});

/** Writes a line and makes the server reload, unless the file `stuck` exists. */
const reload = ({ pid }: TlsServer, directory: string): readonly Record<string, unknown>[] => {
  const trace = `echo "$NODECERTD_SERIAL" >> ${directory}/log`;
  const signal = `[ -e ${directory}/stuck ] || kill -HUP ${pid}`;
  return [{ command: ['/bin/sh', '-c', `${trace}; ${signal}`], retries: 0 }];
};

describe('hooks after a rotation', () => {
  let controlPlane: ControlPlane;
  before(async () => {
    const options = { signingSeconds: 86_400, approvingServing: true };
    controlPlane = await startSandboxControlPlane(options);
  });
  after(async () => {
    await controlPlane[Symbol.asyncDispose]();
  });

  it('make a server load each new pair, and the agent checks it', async () => {
    await using place = await ServedNode.create(controlPlane, 'reloads', (tls, directory) => ({
      onRotate: reload(tls, directory),
      served: served(tls),
    }));
    const agent = place.node.start();
    await agent.event('certificate_stored', server);
    const first = await checked(place, agent);
    await place.renew();
    await agent.event('certificate_stored', server, 2);
    assert.notEqual(await checked(place, agent), first);
    assert.equal(await place.server.serial(), await place.onDisk());
    const { text } = await agent.get('/metrics');
    const { port } = place.server;
    assert.match(
      text,
      new RegExp(`^nodecertd_served_current\\{.*endpoint="localhost:${port}"\\} 1$`, 'm'),
    );
    assert.match(text, /^nodecertd_hook_failing\{.*hook="\/bin\/sh"\} 0$/m);
    assert.match(text, /^nodecertd_hook_runs_total\{.*result="failed"\} 0$/m);
    assert.deepEqual(agent.all('served_stale'), []);
    await agent.stop();
    assert.equal(agent.exitCode, 0);
  });

  it('run for the temporary self-signed certificate, too', async () => {
    await controlPlane.setApproving(false);
    try {
      await using place = await ServedNode.create(
        controlPlane,
        'self-signed',
        (tls, directory) => ({
          onRotate: reload(tls, directory),
          served: served(tls),
        }),
      );
      const agent = place.node.start();
      await agent.event('served_checked', server);
      assert.equal((await agent.certificate(server)).current?.selfSigned, true);
      assert.equal(await place.server.serial(), await place.onDisk());
    } finally {
      await controlPlane.setApproving(true);
    }
  });

  it('report a server that shows an old pair, and its recovery', async () => {
    await using place = await ServedNode.create(controlPlane, 'stale', (tls) => ({
      served: served(tls),
      selfSignedUntilIssued: false,
    }));
    const agent = place.node.start();
    await agent.event('certificate_stored', server);
    const stale = await agent.event('served_stale', server);
    assert.equal(stale['code'], 'SERVED_STALE');
    assert.match(String(stale['error']), /127\.0\.0\.1:\d+ serves no certificate: /);
    assert.ok(stale['remedy']);
    assert.equal((await agent.certificate(server)).state, 'valid');
    const status = await place.status();
    assert.match(status, /^kubelet-server +valid /m);
    assert.match(status, /^kubelet-server: localhost:\d+ serves no certificate: /m);
    const { text } = await agent.get('/metrics');
    assert.match(text, /^nodecertd_served_current\{.*endpoint="127[^}]*\} 0$/m);
    assert.equal(agent.all('pair_rolled_back').length, 0);
    place.server.reload();
    await agent.event('served_recovered', server);
    const later = await agent.get('/metrics');
    assert.match(later.text, /^nodecertd_served_current\{.*endpoint="127[^}]*\} 1$/m);
  });

  it('roll back a pair that is not served, and retry only on demand', async () => {
    await using place = await ServedNode.create(controlPlane, 'rollback', (tls, directory) => ({
      onRotate: reload(tls, directory),
      served: { ...served(tls), onFailure: 'rollback' },
      selfSignedUntilIssued: false,
    }));
    const first = place.node.start();
    await first.event('served_checked', server);
    const old = await place.onDisk();
    await writeFile(join(place.directory, 'stuck'), '');
    await place.renew();
    await first.event('served_stale', server);
    await first.event('pair_rolled_back', server);
    const failed = await first.event('rotation_failed', server);
    assert.equal(failed['code'], 'SERVED_STALE');
    const wait = Date.parse(String(failed['retryAt'])) - Date.parse(String(failed['time']));
    assert.ok(wait >= 59 * 60_000, `the next try is ${wait} ms away`);
    // The server still serves the old pair.
    await first.event('served_recovered', server);
    assert.equal(await place.onDisk(), old);
    assert.equal(await place.server.serial(), old);
    const serials = await place.traces();
    assert.equal(serials.length, 3);
    assert.equal(serials[2], serials[0]);
    const kept = (await readdir(place.node.pki)).filter((file) => file.includes('.rolled-back-'));
    assert.equal(kept.length, 1);
    assert.equal((await first.certificate(server)).state, 'backing-off');
    assert.match(await place.status(), /nodecertd renew kubelet-server$/m);
    assert.deepEqual(first.all('pair_changed'), []);
    const requests = first.all('csr_created', server).length;
    assert.equal(requests, 2);
    await first.stop();

    const second = place.node.start();
    const again = await second.event('rotation_failed', server);
    assert.equal(again['code'], 'SERVED_STALE');
    assert.equal(again['retryAt'], failed['retryAt']);
    assert.equal((await second.certificate(server)).state, 'backing-off');
    assert.deepEqual(second.all('csr_created', server), []);
    assert.deepEqual(second.all('hook_started', server), []);

    await unlink(join(place.directory, 'stuck'));
    await place.renew();
    await second.event('certificate_stored', server);
    await second.event('served_checked', server);
    assert.notEqual(await place.onDisk(), old);
    assert.equal(await place.server.serial(), await place.onDisk());
    assert.equal((await second.certificate(server)).state, 'valid');
    await second.stop();
    const state = await readFile(join(place.node.directory, 'state/state.json'), 'utf8');
    assert.doesNotMatch(state, /rolledBack|hooksPending/);
  });

  it('change with a configuration reload, without a new certificate', async () => {
    await using place = await ServedNode.create(controlPlane, 'changed', (tls) => ({
      served: served(tls),
      selfSignedUntilIssued: false,
    }));
    const agent = place.node.start();
    await agent.event('certificate_stored', server);
    const { serialNumber } = await place.node.read(server);
    await configure(place.node, reload(place.server, place.directory));
    process.kill(agent.pid, 'SIGHUP');
    await agent.event('config_reloaded');
    // The new configuration runs the hooks that are still pending from the old one.
    await agent.event('hook_succeeded', server);
    assert.equal((await place.node.read(server)).serialNumber, serialNumber);
    assert.equal(agent.all('csr_created', server).length, 1);
    await agent.event('served_checked', server);
  });

  it('do not run from a configuration that other users can change', async () => {
    await using place = await ServedNode.create(controlPlane, 'loose', (tls, directory) => ({
      onRotate: reload(tls, directory),
      selfSignedUntilIssued: false,
    }));
    await chmod(place.node.configFile, 0o666);
    const agent = place.node.start();
    const refused = await agent.event('hooks_refused');
    assert.match(String(refused['error']), /config\.yaml has mode 0666/);
    await agent.event('certificate_stored', server);
    await agent.event('hooks_refused', undefined, 2);
    assert.match(await place.status(), /hooks are disabled: /);
    const found = await doctorReport('--config', place.node.configFile);
    assert.equal(found.code, 4);
    assert.match(
      findingOf(found, 'hooks-refused').remedy ?? '',
      /^Fix the mode: chmod go-w .*config\.yaml, then/,
    );
    await assert.rejects(place.traces(), { code: 'ENOENT' });
    await agent.stop();

    await chmod(place.node.configFile, 0o644);
    const next = place.node.start();
    await next.event('hooks_pending', server);
    await next.event('hook_succeeded', server);
    assert.equal((await place.traces()).length, 1);
  });
});

describe('hooks of an agent that is killed', () => {
  let controlPlane: ControlPlane;
  before(async () => {
    controlPlane = await startSandboxControlPlane({ signingSeconds: 86_400 });
  });
  after(async () => {
    await controlPlane[Symbol.asyncDispose]();
  });

  async function placed(name: string): Promise<ServedNode> {
    return ServedNode.create(controlPlane, name, (tls, directory) => ({
      onRotate: reload(tls, directory),
      selfSignedUntilIssued: false,
    }));
  }

  it('before its hooks run: they run once at the next start', async () => {
    await using place = await placed('swapped');
    const first = place.node.start();
    const { csr } = await first.event('csr_created', server);
    const state = join(place.node.directory, 'state/state.json');
    await until(async () => (await readFile(state, 'utf8')).includes(String(csr)));
    // The enroller continues and stores the pair, but the stopped keeper does not
    // notice.
    process.kill(first.pid, 'SIGSTOP');
    await controlPlane.approve(String(csr));
    await until(async () =>
      place.onDisk().then(
        (serial) => serial !== '',
        () => false,
      ),
    );
    await first.stop('SIGKILL');
    await assert.rejects(place.traces(), { code: 'ENOENT' });

    const second = place.node.start();
    await second.event('hook_succeeded', server);
    // The hook has sent the signal, and the server may react later.
    const newest = await place.onDisk();
    await until(async () =>
      place.server.serial().then(
        (serial) => serial === newest,
        () => false,
      ),
    );
    assert.deepEqual(second.all('csr_created', server), []);
    await second.stop();
    const third = place.node.start();
    await third.event('rotation_deadline', server);
    await third.event('enroller_stopped');
    assert.equal((await place.traces()).length, 1);
    assert.deepEqual(third.all('hook_started', server), []);
  });

  it('while its hooks run: they run again at the next start', async () => {
    await using place = await placed('amid');
    const { directory, node } = place;
    const trace = `echo "$NODECERTD_SERIAL" >> ${directory}/log; echo $$ > ${directory}/pid`;
    const wait = `${trace}; [ -e ${directory}/on ] || sleep 600`;
    await configure(node, [{ command: ['/bin/sh', '-c', wait] }]);
    const first = node.start();
    const { csr } = await first.event('csr_created', server);
    await controlPlane.approve(String(csr));
    await first.event('hook_started', server);
    await until(async () =>
      place.traces().then(
        (lines) => lines.length === 1,
        () => false,
      ),
    );
    // The hook does not wait for the state file. A kill before this write is the test above.
    const state = join(node.directory, 'state/state.json');
    await until(async () => (await readFile(state, 'utf8')).includes('hooksPending'));
    await first.stop('SIGKILL');
    // Under systemd, the hook would end with the service.
    process.kill(-Number(await readFile(join(directory, 'pid'), 'utf8')), 'SIGKILL');
    await writeFile(join(directory, 'on'), '');

    const second = node.start();
    await second.event('hooks_pending', server);
    await second.event('hook_succeeded', server);
    const [one, two] = await place.traces();
    assert.equal(one, two);
  });

  it('do not delay the rotation, and run next for the newest pair only', async () => {
    await using place = await placed('beside');
    const { directory, node } = place;
    const trace = `echo "$NODECERTD_SERIAL" >> ${directory}/log`;
    const wait = `while [ ! -e ${directory}/on ]; do sleep 0.05; done`;
    await configure(node, [{ command: ['/bin/sh', '-c', `${trace}; ${wait}`] }]);
    const agent = node.start();
    for (const nth of [1, 2, 3]) {
      if (nth > 1) await place.renew();
      const { csr } = await agent.event('csr_created', server, nth);
      await controlPlane.approve(String(csr));
      await agent.event('certificate_stored', server, nth);
    }
    assert.equal(agent.all('hook_started', server).length, 1);
    await writeFile(join(directory, 'on'), '');
    await agent.event('hook_succeeded', server, 2);
    const serials = agent.all('certificate_stored', server).map(({ serial }) => serial);
    assert.deepEqual(await place.traces(), [serials[0], serials[2]]);
  });

  it('end with an agent that stops, and do not count as failed', async () => {
    await using place = await placed('stopping');
    const { directory, node } = place;
    const wait = `echo $$ >> ${directory}/log; sleep 600; :`;
    await configure(node, [{ command: ['/bin/sh', '-c', wait] }]);
    const agent = node.start();
    const { csr } = await agent.event('csr_created', server);
    await controlPlane.approve(String(csr));
    await until(async () =>
      place.traces().then(
        (lines) => lines.length === 1,
        () => false,
      ),
    );
    const [pid] = await place.traces();
    await agent.stop();
    assert.equal(agent.exitCode, 0);
    assert.deepEqual(agent.all('hook_failed'), []);
    assert.throws(() => process.kill(Number(pid), 0), { code: 'ESRCH' });
  });
});

/** Waits until the agent has seen the stored pair served, and returns its serial number. */
async function checked(place: ServedNode, agent: TestAgent): Promise<string> {
  const serial = await place.onDisk();
  const isIt = (found: unknown): boolean => BigInt(`0x${String(found)}`) === BigInt(`0x${serial}`);
  await until(async () => agent.all('served_checked', server).some((line) => isIt(line['serial'])));
  return serial;
}

/** Replaces the hooks of the serving certificate. */
async function configure(node: TestNode, onRotate: readonly object[]): Promise<void> {
  const configuration = parse(await readFile(node.configFile, 'utf8')) as {
    certificates: Record<string, unknown>[];
  };
  const [, entry = {}] = configuration.certificates;
  entry['onRotate'] = onRotate;
  await writeFile(node.configFile, stringify(configuration));
}

/** Waits for the effect of a process that has no log here. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + scaled(60_000);
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`did not become true: ${condition.toString()}`);
    await delay(50);
  }
}
