import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { parse } from 'yaml';
import type { DoctorFinding } from '../../src/core/findings.ts';
import type { DoctorReport } from '../../src/cli/doctor-report.ts';
import { doctorDocument, doctorExitCode } from '../../src/cli/doctor-report.ts';
import { doctorTable } from '../../src/cli/doctor-table.ts';
import { Progress } from '../../src/cli/doctor-progress.ts';
import { day, second } from '../../src/core/instant.ts';
import { kubeconfigText } from '../kube/support/api-server.ts';
import { doctor, doctorReport, findingOf } from '../support/doctor.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { makeKubeadmTree } from '../pki/kubeadm-tree.ts';
import { temporaryDirectory } from '../store/pairs.ts';

const fine: DoctorFinding = { id: 'pair', severity: 'ok', what: 'the certificate is valid' };
const note: DoctorFinding = { id: 'agent', severity: 'info', what: 'no agent', remedy: 'run' };
const warning: DoctorFinding = {
  id: 'second-rotator',
  severity: 'warning',
  what: 'two\u001b[2J rotate',
  why: 'they fight',
  remedy: 'sed',
};
const error: DoctorFinding = { ...warning, id: 'pair-expired', severity: 'error' };

function report(findings: readonly DoctorFinding[]): DoctorReport {
  return {
    nodeName: 'worker-1',
    certificateDirectory: '/pki',
    now: 0,
    server: 'https://10.0.0.1',
    username: 'system:node:worker-1',
    findings,
  };
}

describe('doctorExitCode()', () => {
  const rows = [
    [[], 0],
    [[fine, note], 0],
    [[fine, warning], 3],
    [[warning, error, note], 4],
  ] as const;
  for (const [findings, expected] of rows) {
    const what = findings.map(({ severity }) => severity).join(', ') || 'nothing';
    it(`is ${expected} for ${what}`, () => {
      assert.equal(doctorExitCode({ findings }), expected);
    });
  }
});

describe('doctorTable()', () => {
  it('groups findings, worst first, and removes escape sequences', () => {
    assert.equal(
      doctorTable(report([warning, fine, note, error]), false),
      `Node worker-1 · /pki
Connected to https://10.0.0.1 as system:node:worker-1

CERTIFICATES
  error    two rotate (pair-expired)
           they fight
           → sed
  ok       the certificate is valid

KUBELET
  warning  two rotate (second-rotator)
           they fight
           → sed

AGENT
  info     no agent (agent)
           → run

1 error, 1 warning, 1 note, 1 check passed
`,
    );
  });

  it('differs only in color when colors are on', () => {
    const colored = doctorTable(report([error, fine]), true);
    assert.ok(colored.includes('\u001b[31merror'), colored);
    assert.equal(stripVTControlCharacters(colored), doctorTable(report([error, fine]), false));
  });
});

describe('doctorDocument()', () => {
  it('contains group, id and remedy of each finding', () => {
    assert.deepEqual(doctorDocument(report([warning])), {
      apiVersion: 'nodecertd.io/v1alpha1',
      kind: 'DoctorReport',
      nodeName: 'worker-1',
      certificateDirectory: '/pki',
      server: 'https://10.0.0.1',
      username: 'system:node:worker-1',
      now: '1970-01-01T00:00:00Z',
      counts: { error: 0, warning: 1, info: 0, ok: 0 },
      findings: [{ group: 'kubelet', ...warning }],
    });
  });
});

describe('Progress', () => {
  it('names the running checks after two seconds, and erases the line', async () => {
    const clock = new FakeClock();
    const written: string[] = [];
    const output = { write: (text: string) => written.push(text), isTTY: true, columns: 80 };
    {
      using progress = new Progress(output, clock).start();
      progress.note('the API server', 'started');
      progress.note('the kubelet', 'started');
      progress.note('the kubelet', 'ended');
      await clock.advance(2 * second - 1);
      assert.deepEqual(written, []);
      await clock.advance(1);
      await clock.advance(second);
    }
    assert.deepEqual(written, [
      '\r\u001b[Kwaiting for the API server (2s)',
      '\r\u001b[Kwaiting for the API server (3s)',
      '\r\u001b[K',
    ]);
  });

  it('writes nothing without a terminal', async () => {
    const clock = new FakeClock();
    const written: string[] = [];
    using progress = new Progress({ write: (text) => written.push(text) }, clock).start();
    progress.note('the API server', 'started');
    await clock.advance(10 * second);
    assert.deepEqual(written, []);
  });
});

/** Flags that keep the checks inside the test's own directory. */
function within(directory: string): string[] {
  const flags = {
    '--cert-dir': join(directory, 'pki'),
    '--state-dir': join(directory, 'state'),
    '--kubeconfig': join(directory, 'kubelet.conf'),
    '--hostname-override': 'n1',
    '--kubelet-config': join(directory, 'kubelet.yaml'),
    '--metrics-address': '127.0.0.1:0',
  };
  return Object.entries(flags).flat();
}

interface BlackHole {
  readonly url: string;
  /** Settles with the second connection. */
  readonly second: Promise<unknown>;
}

/** Accepts connections and never answers. */
async function blackHole(context: TestContext): Promise<BlackHole> {
  const sockets = new Set<Socket>();
  const { promise: second, resolve } = Promise.withResolvers<void>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    if (sockets.size === 2) resolve();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`, second };
}

describe('nodecertd doctor', { timeout: 120_000 }, () => {
  it('exits with 2 for wrong usage and with 1 for an invalid configuration', async (context) => {
    const directory = await temporaryDirectory(context);
    assert.equal((await doctor('--output', 'xml')).code, 2);
    const file = join(directory, 'bad.yaml');
    await writeFile(file, 'kind: Nothing\n');
    const { code, stderr } = await doctor('--config', file);
    assert.equal(code, 1);
    assert.match(stderr, /CONFIG_INVALID/);
  });

  it('explains its exit codes and shows examples', async () => {
    const { code, stdout } = await doctor('--help');
    assert.equal(code, 0);
    assert.match(stdout, / {2}4 {2}errors: something prevents certificates/);
    assert.match(stdout, /nodecertd doctor --admin-kubeconfig/);
  });

  it('finds a metrics port that another program uses', async (context) => {
    const directory = await temporaryDirectory(context);
    const server = createHttpServer((_, response) => response.end('hello'));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    context.after(() => server.close());
    const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const found = await doctorReport(...within(directory), '--metrics-address', address);
    assert.equal(found.code, 4);
    const { what } = findingOf(found, 'metrics-port-taken');
    assert.match(what, new RegExp(`${address} is in use by a program other than nodecertd`));
  });

  it('reports a named pipe in place of a file', async (context) => {
    const directory = await temporaryDirectory(context);
    await mkdir(join(directory, 'pki'));
    for (const name of ['kubelet.conf', 'kubelet.yaml', 'pki/kubelet-client-current.pem']) {
      const made = spawn('mkfifo', [join(directory, name)]);
      await once(made, 'exit');
    }
    const { code, stdout } = await doctor(...within(directory), '-o', 'yaml');
    assert.equal(code, 4);
    const { findings } = parse(stdout) as { findings: DoctorFinding[] };
    const ids = findings.map(({ id }) => id);
    for (const id of ['kubeconfig-invalid', 'pair-damaged', 'not-checked'] as const) {
      assert.ok(ids.includes(id), `${id} in ${ids.join()}`);
    }
  });

  it('reports expired certificates of the control plane once, with a command', async (context) => {
    const directory = await temporaryDirectory(context);
    const past = Date.now() - 800 * day;
    const { directories } = await makeKubeadmTree(join(directory, 'kubernetes'), past);
    const own = ['--kubernetes-dir', directories.kubernetes];
    const found = await doctorReport(...within(directory), ...own);
    assert.equal(found.code, 4);
    const { what, remedy } = findingOf(found, 'inventory-expired');
    assert.match(what, /^11 certificates have expired: admin\.conf, apiserver, /);
    assert.match(
      remedy ?? '',
      /: nodecertd certs renew admin\.conf apiserver .* super-admin\.conf$/,
    );
    const errors = found.findings.filter(
      ({ group, severity }) => group === 'inventory' && severity === 'error',
    );
    assert.equal(errors.length, 1);
    const unattended = findingOf(found, 'inventory-unattended');
    assert.equal(unattended.severity, 'info');
    const { kubernetes, certificates } = directories;
    const outside = [kubernetes, certificates, join(certificates, 'etcd')];
    const [, paths = ''] = / with ReadWritePaths=([^,]*)/.exec(unattended.remedy ?? '') ?? [];
    assert.deepEqual(paths.split(' ').toSorted(), outside.toSorted());
    // Without root, the files belong to this user.
    const isForeign = /, because \S+ does not belong to root$/.test(unattended.remedy ?? '');
    assert.equal(isForeign, process.getuid?.() !== 0);
  });

  it('times out on a silent API server, and Ctrl-C ends it earlier', async (context) => {
    const directory = await temporaryDirectory(context);
    const { url: server, second } = await blackHole(context);
    await writeFile(
      join(directory, 'kubelet.conf'),
      kubeconfigText({ cluster: { server }, user: { token: 'abc' } }),
      { mode: 0o600 },
    );
    const main = join(import.meta.dirname, '../../src/main.ts');
    const child = spawn(process.execPath, [main, 'doctor', ...within(directory)], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const whole = doctorReport(...within(directory));
    // Both processes are waiting for a response now.
    await second;
    child.kill('SIGINT');
    const [, signal] = (await once(child, 'exit')) as [number | null, string | null];
    assert.equal(signal, 'SIGINT');
    const found = await whole;
    assert.equal(found.code, 4);
    assert.match(findingOf(found, 'api-unreachable').what, /10 s/);
    assert.equal(findingOf(found, 'pair-missing').severity, 'info');
  });
});
