import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { parse } from 'yaml';
import { describeProgram } from '../../src/cli/program.ts';
import { day } from '../../src/core/instant.ts';
import { makePair } from '../store/pairs.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { agentStatus, certificateStatus, pairFacts } from './statuses.ts';

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const run = promisify(execFile);

interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the real program in its own process. */
async function nodecertd(...args: readonly string[]): Promise<Result> {
  return new Promise((resolve) => {
    execFile(process.execPath, [main, ...args], (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

let directory = '';
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'nodecertd-cli-'));
});
after(async () => {
  await rm(directory, { recursive: true });
});

/** A folder with `kubelet-client-current.pem`, issued by a CA unless `selfSigned`. */
async function pki(kind: 'issued' | 'expired' | 'self-signed'): Promise<string> {
  const folder = await mkdtemp(join(directory, `${kind}-`));
  const at = (name: string): string => join(folder, name);
  const days =
    kind === 'expired'
      ? ['-startdate', '20200101000000Z', '-enddate', '20200201000000Z']
      : ['-days', '30'];
  const key = (name: string): string[] => [
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-keyout',
    at(name),
  ];
  const subject = ['-subj', '/O=system:nodes/CN=system:node:worker-1'];
  if (kind === 'self-signed') {
    await run('openssl', ['req', '-x509', ...key('k'), ...subject, '-days', '30', '-out', at('c')]);
  } else {
    await run('openssl', ['req', '-x509', ...key('ca.key'), '-subj', '/CN=ca', '-out', at('ca')]);
    await run('openssl', ['req', '-new', ...key('k'), ...subject, '-out', at('csr')]);
    await writeFile(at('index'), '');
    await writeFile(
      at('ca.cnf'),
      `[ca]\ndefault_ca=d\n[d]\ndatabase=${at('index')}\nnew_certs_dir=${folder}\nrand_serial=yes\ndefault_md=sha256\npolicy=p\n[p]\norganizationName=optional\ncommonName=supplied\n`,
    );
    await run('openssl', [
      'ca',
      '-batch',
      '-notext',
      '-config',
      at('ca.cnf'),
      '-cert',
      at('ca'),
      '-keyfile',
      at('ca.key'),
      '-in',
      at('csr'),
      '-out',
      at('c'),
      ...days,
    ]);
  }
  const pair = at('kubelet-client-2026-01-01-00-00-00.pem');
  await writeFile(pair, (await readFile(at('c'), 'utf8')) + (await readFile(at('k'), 'utf8')));
  await symlink(pair, at('kubelet-client-current.pem'));
  return folder;
}

/** Keeps the test from finding an agent on this machine. */
const noAgent = ['--metrics-address', '127.0.0.1:0', '--state-dir', '/nonexistent'];

describe('nodecertd', () => {
  it('--help shows every command, examples, and exit codes', async () => {
    const { code, stdout, stderr } = await nodecertd('--help');
    assert.deepEqual([code, stderr], [0, '']);
    for (const part of [
      'run',
      'status',
      'version',
      'nodecertd status --cert-dir',
      '  4  a serious',
    ]) {
      assert.ok(stdout.includes(part), part);
    }
  });

  const misused: readonly (readonly [readonly string[], RegExp])[] = [
    [['staus'], /^nodecertd: unknown command 'staus' \(USAGE\)\n {2}→ Did you mean status\?\n$/],
    [
      ['run', '--kubeconfg', 'x'],
      /unknown option '--kubeconfg' \(USAGE\)\n {2}→ Did you mean --kubeconfig\?/,
    ],
    [['status', '-o', 'xml'], /Allowed choices are table, json, yaml \(USAGE\)/],
    [['version', 'now'], /too many arguments/],
    [['discover', '--x'], /→ See: nodecertd discover --help\n$/],
    [['certs', 'verfy'], /unknown command 'verfy' \(USAGE\)\n {2}→ Did you mean verify\?\n$/],
    [['certs', 'verify', '--x'], /→ See: nodecertd certs verify --help\n$/],
    [['certs', 'x'], /unknown command 'x' \(USAGE\)\n {2}→ See: nodecertd certs --help\n$/],
  ];
  for (const [args, message] of misused) {
    it(`${args.join(' ')} exits with 2 and a hint`, async () => {
      const { code, stdout, stderr } = await nodecertd(...args);
      assert.deepEqual([code, stdout], [2, '']);
      assert.match(stderr, message);
    });
  }

  it('without a command shows the help and exits with 2', async () => {
    const { code, stderr } = await nodecertd();
    assert.equal(code, 2);
    assert.match(stderr, /^Usage: nodecertd/);
  });

  it('certs shows its commands, examples and exit codes', async () => {
    const { code, stdout, stderr } = await nodecertd('certs', '--help');
    assert.deepEqual([code, stderr], [0, '']);
    for (const part of [
      '\n  verify ',
      '\n  nodecertd certs check-expiration\n',
      '\n  4  a serious',
    ]) {
      assert.ok(stdout.includes(part), part);
    }
    assert.deepEqual(await nodecertd('certs'), { code: 2, stdout: '', stderr: stdout });
    assert.deepEqual(await nodecertd('help', 'certs'), { code: 0, stdout, stderr: '' });
  });

  it('help certs verify shows the same as certs verify --help', async () => {
    const shown = await nodecertd('certs', 'verify', '--help');
    assert.match(shown.stdout, /^Usage: nodecertd certs verify \[options\] \[names...\]\n/);
    assert.deepEqual(await nodecertd('help', 'certs', 'verify'), shown);
  });

  it('run reports every problem of the configuration and exits with 1', async () => {
    const file = join(directory, 'bad.yaml');
    await writeFile(
      file,
      'apiVersion: nodecertd.io/v1alpha1\nkind: AgentConfiguration\nlogg: {}\nstore: 1\n',
    );
    const { code, stdout, stderr } = await nodecertd('run', '--config', file);
    assert.deepEqual([code, stdout], [1, '']);
    assert.equal(
      stderr,
      `nodecertd: ${file} has 2 problems (CONFIG_INVALID)\n  ${file}:3: logg: unknown key; did you mean "log"?\n  ${file}:4: store: expected a map, found 1\n  → Correct the problems listed above, and start again\n`,
    );
  });

  it('run --check names the configuration it has read', async () => {
    const file = join(directory, 'config.yaml');
    await writeFile(file, 'apiVersion: nodecertd.io/v1alpha1\nkind: AgentConfiguration\n');
    const named = await nodecertd('run', '--check', '--config', file);
    assert.deepEqual([named.code, named.stderr], [0, '']);
    assert.equal(named.stdout, `${file} is valid. Certificates: kubelet-client, kubelet-server\n`);
    const { code, stdout } = await nodecertd('run', '--check');
    assert.equal(code, 0);
    assert.match(stdout, /^The configuration from flags and defaults is valid\./);
  });

  it('version -o json shows program and runtime', async () => {
    const { code, stdout } = await nodecertd('version', '-o', 'json');
    assert.equal(code, 0);
    const { version, node } = JSON.parse(stdout) as Record<string, string>;
    assert.match(version ?? '', /^\d+\.\d+\.\d+$/);
    assert.equal(`v${node}`, process.version);
  });

  it('describeProgram() has the commands, options, and exit codes of the help', async () => {
    const { program, commands } = await describeProgram({
      stdout: process.stdout,
      stderr: process.stderr,
      environment: { hostName: 'here', workingDirectory: directory },
      clock: new FakeClock(),
      startAgent: async () => 0,
      startApprover: async () => 0,
    });
    const { stdout } = await nodecertd('--help');
    const listed = [...stdout.matchAll(/^ {2}([a-z-]+) (?:\[command\])? /gm)];
    // A group such as certs is listed once.
    const names = new Set(commands.map(({ name }) => name.split(' ')[0]));
    assert.deepEqual(
      [...names, 'help'],
      listed.map(([, name]) => name),
    );
    for (const { name, command, exitCodes } of commands) {
      const help = (await nodecertd(...name.split(' '), '--help')).stdout;
      const flags = program
        .createHelp()
        .visibleOptions(command)
        .map((option) => option.flags);
      for (const flag of flags) assert.ok(help.includes(flag), `${name} ${flag}`);
      assert.equal(flags.length, help.match(/^ {2}-/gm)?.length, name);
      for (const [code, meaning] of Object.entries(exitCodes)) {
        assert.ok(help.includes(`\n  ${code}  ${meaning}\n`), `${name} ${code}`);
      }
    }
  });

  it('survives a closed stdout', async () => {
    const { stdout, stderr } = await run('bash', [
      '-c',
      `"$0" "$1" --help | true; echo "\${PIPESTATUS[0]}"`,
      process.execPath,
      main,
    ]);
    assert.deepEqual([stdout, stderr], ['0\n', '']);
  });
});

/** A fake agent with a fixed answer, on a real port that state.json names. */
async function withAgent(
  answer: string | undefined,
  check: (stateDir: string) => Promise<void>,
): Promise<void> {
  const server = createServer((request, response) => {
    if (answer !== undefined) response.end(request.url === '/status' ? answer : '');
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const stateDir = await mkdtemp(join(directory, 'state-'));
  const { port } = server.address() as AddressInfo;
  await writeFile(
    join(stateDir, 'state.json'),
    JSON.stringify({ metricsAddress: `127.0.0.1:${port}`, certificates: {} }),
  );
  try {
    await check(stateDir);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

describe('nodecertd status', () => {
  const expectations = [
    ['issued', 0, 'valid'],
    ['expired', 4, 'expired'],
    ['self-signed', 4, 'self-signed'],
  ] as const;
  for (const [kind, exitCode, condition] of expectations) {
    it(`exits with ${exitCode} for a certificate that is ${condition}`, async () => {
      const folder = await pki(kind);
      const { code, stdout } = await nodecertd(
        'status',
        '--cert-dir',
        folder,
        '-o',
        'json',
        ...noAgent,
      );
      assert.equal(code, exitCode);
      const { source, certificates } = JSON.parse(stdout) as {
        source: string;
        certificates: Record<string, unknown>[];
      };
      assert.equal(source, 'directory');
      assert.equal(certificates.length, 1);
      assert.equal(certificates[0]?.['condition'], condition);
      assert.match(String(certificates[0]?.['serial']), /^[1-9a-f][0-9a-f]+$/);
      assert.doesNotMatch(stdout, /PRIVATE/);
    });
  }

  it('reports a truncated file and a missing certificate', async () => {
    const folder = await pki('issued');
    const link = join(folder, 'kubelet-client-current.pem');
    await writeFile(link, (await readFile(link)).subarray(0, 200));
    await symlink(join(folder, 'gone.pem'), join(folder, 'web-current.pem'));
    const { code, stdout } = await nodecertd('status', '--cert-dir', folder, ...noAgent);
    assert.equal(code, 4);
    assert.match(stdout, /^kubelet-client +invalid /m);
    assert.match(stdout, /^web +missing /m);
    assert.match(stdout, /PAIR_MALFORMED/);
  });

  it("reports another certificate's key as a mismatch", async () => {
    const folder = await pki('issued');
    const link = join(folder, 'kubelet-client-current.pem');
    const other = await makePair();
    const [certificate] = (await readFile(link, 'utf8')).split(/(?<=END CERTIFICATE-----\n)/);
    await writeFile(link, `${certificate}${other.keyPem.toString()}`);
    const { code, stdout } = await nodecertd('status', '--cert-dir', folder, ...noAgent);
    assert.equal(code, 4);
    assert.match(stdout, /^kubelet-client +invalid /m);
    assert.match(stdout, /CERT_KEY_MISMATCH/);
  });

  it('reports configured certificates that are missing', async () => {
    const file = join(directory, 'config.yaml');
    await writeFile(
      file,
      `apiVersion: nodecertd.io/v1alpha1\nkind: AgentConfiguration\ncertificateDirectory: ${await pki('issued')}\n`,
    );
    const { code, stdout } = await nodecertd('status', '--config', file, '-o', 'yaml', ...noAgent);
    assert.equal(code, 4);
    const { certificates } = parse(stdout) as {
      certificates: { name: string; condition: string }[];
    };
    assert.deepEqual(
      certificates.map(({ name, condition }) => [name, condition]),
      [
        ['kubelet-client', 'valid'],
        ['kubelet-server', 'missing'],
      ],
    );
  });

  it('shows the deadline in the configured rotation window', async () => {
    const file = join(directory, 'window.yaml');
    const folder = await pki('issued');
    await writeFile(
      file,
      `apiVersion: nodecertd.io/v1alpha1\nkind: AgentConfiguration\ncertificateDirectory: ${folder}\nrotation: { from: 10%, to: 11% }\n`,
    );
    const { stdout } = await nodecertd('status', '--config', file, '-o', 'json', ...noAgent);
    const { certificates } = JSON.parse(stdout) as { certificates: Record<string, string>[] };
    const { notBefore = '', rotationDeadline = '' } = certificates[0] ?? {};
    const days = (Date.parse(rotationDeadline) - Date.parse(notBefore)) / day;
    // The certificate lives for 30 days; the time of issue may be some seconds later.
    assert.ok(days >= 3 && days < 3.31, `${days} days`);
  });

  it('asks the running agent, and exits with 3 if a rotation is overdue', async () => {
    const now = Date.now();
    const current = pairFacts({ notBefore: now - 1e6, storedAt: now - 1e6, notAfter: now + 1e6 });
    const status = agentStatus(now, [
      certificateStatus({ current, overdue: true, rotationDeadline: now - 5_000 }),
    ]);
    await withAgent(JSON.stringify(status), async (stateDir) => {
      const { code, stdout } = await nodecertd(
        'status',
        '--cert-dir',
        '/pki',
        '--state-dir',
        stateDir,
      );
      assert.equal(code, 3);
      assert.match(stdout, /^From the agent: version 0\.1\.0, pid 7/m);
      assert.match(stdout, /^kubelet-client +expiring .*overdue by 5s/m);
    });
  });

  it('reads the directory if no agent for this directory answers', async () => {
    const folder = await pki('issued');
    const cases: readonly (readonly [string | undefined, RegExp])[] = [
      [undefined, /no response from 127/],
      ['{"hello":1}', /is not a nodecertd agent/],
      [JSON.stringify(agentStatus(Date.now())), /manages \/pki/],
    ];
    for (const [answer, note] of cases) {
      await withAgent(answer, async (stateDir) => {
        const { code, stdout } = await nodecertd(
          'status',
          '--cert-dir',
          folder,
          '--state-dir',
          stateDir,
        );
        assert.equal(code, 0);
        assert.match(stdout, note);
      });
    }
  });
});
