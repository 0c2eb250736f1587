import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parseAddress } from '../../src/cli/discover-values.ts';
import { loadKubeconfig } from '../../src/kube/kubeconfig.ts';
import { pinOf, tokenText } from '../discovery/support/test-cluster.ts';
import { makeAuthority } from '../kube/support/certificates.ts';
import { startProxy } from '../kube/support/connect-proxy.ts';
import type { Ended } from '../support/doctor.ts';
import type { DiscoverBench } from './discover-bench.ts';
import { discoverBench } from './discover-bench.ts';

const main = join(import.meta.dirname, '../../src/main.ts');
const secret = tokenText.slice(7);

/** The program itself, with text on its standard input. */
async function runWithInput(input: string, ...args: readonly string[]): Promise<Ended> {
  const child = spawn(process.execPath, [main, 'discover', ...args]);
  child.stdin.end(input);
  const [stdout, stderr, [code]] = await Promise.all([
    child.stdout.toArray(),
    child.stderr.toArray(),
    once(child, 'exit') as Promise<[number | null]>,
  ]);
  return { code: code ?? -1, stdout: stdout.join(''), stderr: stderr.join('') };
}

function joinLine({ address, pin }: DiscoverBench, extra = ''): string {
  return `kubeadm join ${address} --token ${tokenText} \\\n\t--discovery-token-ca-cert-hash ${pin} ${extra}\n`;
}

describe('nodecertd discover', () => {
  it('writes a kubeconfig that leads to the cluster, and reports it', async (t) => {
    const bench = await discoverBench(t);
    const { code, stdout, stderr } = await bench.succeed();
    assert.equal(stderr, '');
    assert.equal(code, 0);
    assert.match(stdout, new RegExp(`^Server: +https://${bench.address}$`, 'm'));
    assert.match(stdout, /^CA: +CN=kubernetes, until .*Z, pinned$/m);
    assert.match(stdout, new RegExp(`^ +key ${bench.pin}$`, 'm'));
    assert.match(stdout, /^Node: +here does not exist yet$/m);
    assert.match(stdout, new RegExp(`^File: +${bench.output} created, mode 0600$`, 'm'));
    assert.match(stdout, /systemctl enable --now nodecertd$/m);
    assert.ok(!stdout.includes(secret));
    using access = await loadKubeconfig(bench.output);
    assert.equal(access.cluster.server, `https://${bench.address}`);
    assert.equal(Buffer.from(access.credential.token?.expose() ?? []).toString(), tokenText);
    const authority = Buffer.from(access.cluster.certificateAuthority?.pem ?? []).toString();
    assert.equal(authority, bench.cluster.authority.pem);
    assert.equal((await stat(bench.output)).mode & 0o777, 0o600);
  });

  it('prints stable JSON without the token', async (t) => {
    const bench = await discoverBench(t);
    const { stdout } = await bench.succeed('-o', 'json');
    const { certificateAuthorities, ...document } = JSON.parse(stdout) as Record<string, unknown>;
    assert.deepEqual(document, {
      apiVersion: 'nodecertd.io/v1alpha1',
      kind: 'Discovery',
      server: `https://${bench.address}`,
      verifiedBy: 'pin',
      tokenId: 'abcdef',
      node: { name: 'here', state: 'absent' },
      dryRun: false,
      files: [{ path: bench.output, change: 'created' }],
      warnings: [],
    });
    const [authority] = certificateAuthorities as Record<string, unknown>[];
    assert.deepEqual(Object.keys(authority ?? {}), [
      'subject',
      'notAfter',
      'publicKeyHash',
      'sha256Fingerprint',
      'pinned',
    ]);
    assert.ok(!stdout.includes(secret));
  });

  it('rewrites nothing for the same token, and writes nothing in a dry run', async (t) => {
    const bench = await discoverBench(t);
    const { stdout } = await bench.succeed('--dry-run');
    assert.match(stdout, /would be created \(dry run\)$/m);
    assert.match(stdout, /^Next: run the same command without --dry-run$/m);
    assert.deepEqual(await readdir(bench.directory), ['token']);
    await bench.succeed();
    const before = await stat(bench.output);
    assert.match((await bench.succeed()).stdout, /bootstrap\.conf unchanged$/m);
    assert.equal((await stat(bench.output)).ino, before.ino);
  });

  it('refuses a file with another token before the first packet', async (t) => {
    const bench = await discoverBench(t);
    await bench.succeed();
    bench.cluster.api.requests.length = 0;
    const otherToken = join(bench.directory, 'other');
    await writeFile(otherToken, 'ghijkl.0123456789abcdef', { mode: 0o600 });
    const args = ['--token-file', otherToken];
    const { code, stderr } = await bench.succeed(...args);
    assert.equal(code, 1);
    assert.match(stderr, /has another token \(BOOTSTRAP_EXISTS\)\n {2}→ .*--force/);
    assert.deepEqual(bench.cluster.api.requests, []);
    bench.cluster.signing = ['ghijkl.0123456789abcdef'];
    bench.cluster.authenticating = bench.cluster.signing;
    assert.equal((await bench.succeed(...args, '--force')).code, 0);
  });

  it('writes the CA file, and takes another server and a proxy into the kubeconfig', async (t) => {
    const bench = await discoverBench(t);
    const caFile = join(bench.directory, 'ca.crt');
    const server = `localhost:${bench.cluster.api.port}`;
    const refused = await bench.succeed('--server', server, '--ca-file', caFile);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /127\.0\.0\.1, not for localhost/);
    assert.deepEqual(await readdir(bench.directory), ['token']);
    const { code } = await bench.succeed('--server', bench.address, '--ca-file', caFile);
    assert.equal(code, 0);
    assert.equal(await readFile(caFile, 'utf8'), bench.cluster.authority.pem);
    assert.match(
      await readFile(bench.output, 'utf8'),
      new RegExp(`certificate-authority: ${caFile}`),
    );
  });

  it('lists CAs that are not pinned, and omits them with --only-pinned', async (t) => {
    const bench = await discoverBench(t);
    const other = await makeAuthority('next-ca');
    bench.cluster.bundle = [bench.cluster.authority.pem, other.pem];
    const { stdout } = await bench.succeed();
    assert.match(stdout, /^CA: +CN=next-ca, until .*, not pinned$/m);
    assert.match(stdout, new RegExp(`^ +key ${pinOf(other.pem)}$`, 'm'));
    const authorityOf = async (): Promise<string> => {
      using access = await loadKubeconfig(bench.output);
      return Buffer.from(access.cluster.certificateAuthority?.pem ?? []).toString();
    };
    assert.equal(await authorityOf(), bench.cluster.bundle.join(''));
    const pinned = await bench.succeed('--only-pinned');
    assert.doesNotMatch(pinned.stdout, /next-ca/);
    assert.equal(await authorityOf(), bench.cluster.authority.pem);
  });

  it('warns if the CA is not verified, and says so in JSON', async (t) => {
    const bench = await discoverBench(t);
    const args = ['--endpoint', bench.address, '--token-file', bench.tokenFile];
    const flag = '--unsafe-skip-ca-verification';
    const text = await bench.discover(...args, flag);
    assert.equal(text.code, 0);
    assert.match(text.stdout, /^Verified by: the signature of the token alone$/m);
    assert.match(text.stdout, /^Warning: +.*token/m);
    const { stdout } = await bench.discover(...args, flag, '-o', 'json');
    const document = JSON.parse(stdout) as { verifiedBy: string; warnings: string[] };
    assert.equal(document.verifiedBy, 'token');
    assert.equal(document.warnings.length, 1);
  });

  it('uses the proxy of --proxy, and writes it into the kubeconfig', async (t) => {
    const bench = await discoverBench(t);
    await using proxy = await startProxy();
    const { code, stdout, stderr } = await bench.succeed('--proxy', proxy.url);
    assert.equal(code, 0, stderr);
    assert.deepEqual(
      new Set(proxy.seen.map((line) => line.split(' ')[0])),
      new Set([bench.address]),
    );
    assert.ok(!`${stdout}${stderr}`.includes('pa%3Ass'));
    using access = await loadKubeconfig(bench.output);
    assert.equal(access.cluster.proxyUrl, `${proxy.url}/`);
  });

  it('refuses without a pin, and says how to get it', async (t) => {
    const bench = await discoverBench(t);
    const args = ['--endpoint', bench.address, '--token-file', bench.tokenFile];
    const { code, stderr } = await bench.discover(...args);
    assert.equal(code, 2);
    assert.match(stderr, /--ca-cert-hash is missing: .*\(USAGE\)\n {2}→ .*openssl x509 -pubkey/);
    assert.deepEqual(bench.cluster.api.requests, []);
  });
});

describe('nodecertd discover, the Node of this machine', () => {
  it('refuses a Ready Node before it writes, and continues with --force', async (t) => {
    const bench = await discoverBench(t);
    bench.node = 'ready';
    const { code, stderr } = await bench.succeed('--node-name', 'worker-1');
    assert.equal(code, 1);
    assert.match(stderr, /has a Node worker-1 that is Ready \(NODE_EXISTS\)/);
    assert.deepEqual(await readdir(bench.directory), ['token']);
    const forced = await bench.succeed('--force');
    assert.equal(forced.code, 0);
    assert.match(forced.stdout, /^Node: +here exists and is Ready \(ignored by --force\)$/m);
  });

  it('uses a Node that is not Ready', async (t) => {
    const bench = await discoverBench(t);
    bench.node = 'not-ready';
    const { code, stdout } = await bench.succeed();
    assert.equal(code, 0);
    assert.match(stdout, /^Node: +here exists and is not Ready; this machine will use it$/m);
  });

  it('says that the token may not read Nodes, and continues', async (t) => {
    const bench = await discoverBench(t);
    bench.node = 'forbidden';
    const { code, stdout } = await bench.succeed('-o', 'json');
    assert.equal(code, 0);
    assert.deepEqual((JSON.parse(stdout) as { node: unknown }).node, {
      name: 'here',
      state: 'unknown',
      reason: 'this credential may not read Nodes',
    });
  });
});

describe('nodecertd discover --join', () => {
  it('reads the line from standard input, without a warning', async (t) => {
    const bench = await discoverBench(t);
    const args = ['--join', '-', '--output', bench.output, '--node-name', 'n1'];
    const { code, stdout, stderr } = await runWithInput(joinLine(bench), ...args);
    assert.equal(stderr, '');
    assert.equal(code, 0);
    assert.match(stdout, /^Node: +n1 does not exist yet$/m);
  });

  it('takes the line as an argument, warns that ps shows it, and reports flags', async (t) => {
    const bench = await discoverBench(t);
    const line = joinLine(bench, '--control-plane --node-name n2 --dry-run');
    const { code, stdout, stderr } = await bench.discover('--join', line);
    assert.equal(code, 0);
    assert.match(stderr, /^warning: other users of this machine can see the token of --join/m);
    assert.match(stderr, /^warning: --join: ignored --control-plane/m);
    assert.ok(!`${stdout}${stderr}`.includes(secret));
    assert.match(stdout, /^Node: +n2 /m);
    assert.match(stdout, /dry run/);
  });

  it('takes the token of a line without one from --token-file', async (t) => {
    const bench = await discoverBench(t);
    const line = joinLine(bench).replace(tokenText, '<value withheld>');
    assert.equal((await bench.discover('--join', line)).code, 2);
    const { code } = await bench.discover('--join', line, '--token-file', bench.tokenFile);
    assert.equal(code, 0);
  });

  it('adds the hashes of --ca-cert-hash to those of the line', async (t) => {
    const bench = await discoverBench(t);
    const line = joinLine(bench).replace(bench.pin, `sha256:${'0'.repeat(64)}`);
    const refused = await bench.discover('--join', line);
    assert.match(refused.stderr, /\(CLUSTER_UNTRUSTED\)/);
    const { code } = await bench.discover('--join', line, '--ca-cert-hash', bench.pin);
    assert.equal(code, 0);
  });

  it('stops at Ctrl-C without writing', async (t) => {
    const bench = await discoverBench(t);
    const reached = Promise.withResolvers<undefined>();
    bench.cluster.respond = () => reached.resolve(undefined);
    const args = ['discover', '--join', '-', '--output', bench.output];
    const child = spawn(process.execPath, [main, ...args]);
    child.stdin.end(joinLine(bench));
    const stderr = child.stderr.toArray();
    await reached.promise;
    child.kill('SIGINT');
    const [code] = (await once(child, 'exit')) as [number | null];
    assert.equal(code, 1);
    assert.match((await stderr).join(''), /discovery was canceled, and no file was written/);
    assert.deepEqual(await readdir(bench.directory), ['token']);
  });
});

describe('nodecertd discover, input', () => {
  const hash = `sha256:${'0f'.repeat(32)}`;
  const endpoint = ['--endpoint', 'h'];
  const token = 'q1w2e3.r4t5y6u7i8o9p0a1';
  const rest = ['--token', token, '--ca-cert-hash', hash];
  const shortToken = token.slice(0, -1);
  for (const [args, message] of [
    [[], /--endpoint is missing/],
    [['--endpoint', 'http://h', ...rest], /"http:\/\/h" has no TLS/],
    [['--endpoint', 'h:0', ...rest], /--endpoint "h:0" is not the address/],
    [['--endpoint', token, ...rest], /--endpoint "…" is not the address/],
    [[...endpoint, '--server', 'a b', ...rest], /--server "a b" is not the address/],
    [[...endpoint, '--ca-cert-hash', hash], /--token-file is missing/],
    [[...endpoint, '--token', shortToken, '--ca-cert-hash', hash], /22 characters, expected 23/],
    [[...endpoint, '--token', token.toUpperCase(), '--ca-cert-hash', hash], /capital letters/],
    [[...endpoint, '--token', '', '--ca-cert-hash', hash], /it is empty/],
    [[...endpoint, '--token', token, '--ca-cert-hash', 'sha256:0f'], /has 2 hexadecimal digits/],
    [[...endpoint, '--token', token, '--ca-cert-hash', 'md5:0f'], /"md5:0f" is not sha256:/],
    [[...endpoint, '--token', token, '--ca-cert-hash', token], /"…" is not sha256:/],
    [[...endpoint, ...rest, '--timeout', '0s'], /--timeout must be longer/],
    [[...endpoint, ...rest, '--timeout', 'soon'], /expected a duration/],
    [[...endpoint, ...rest, '--proxy', 'ftp://u:hunter2@h'], /--proxy is not the URL/],
    [[...endpoint, ...rest, '--node-name', 'a_b'], /--node-name "a_b" cannot be the name/],
    [[...endpoint, ...rest, '--token-file', '-'], /--token and --token-file exclude/],
    [[...endpoint, ...rest, '--unsafe-skip-ca-verification'], /exclude each other/],
    [
      [...endpoint, '--token', token, '--unsafe-skip-ca-verification', '--only-pinned'],
      /requires --ca-cert-hash/,
    ],
    [[...endpoint, ...rest, '--discovery-file-hash', hash], /requires --discovery-file/],
    [[...endpoint, ...rest, '--output', 'json'], /--output takes a file, .*use -o json/],
    [[...endpoint, ...rest, '--output', '/a', '--ca-file', '/a'], /name the same file/],
    [['--discovery-file', '/a', ...endpoint], /--discovery-file and --endpoint exclude/],
    [['--discovery-file', 'http://h/a'], /"http:\/\/h\/a" is not an https:\/\/ URL/],
    [['--discovery-file', 'https://u:hunter2@h/a'], /user or a password in its URL/],
    [['--discovery-file', '/a', '--discovery-file-hash', 'x'], /--discovery-file-hash "x" is not/],
    [['--join', 'kubeadm'], /takes the whole kubeadm join line/],
    [['--join', `kubeadm join h:1 --token ${token}`], /no --discovery-token-ca-cert-hash/],
    [
      ['--join', `kubeadm join h:1 --token ${shortToken} --discovery-token-ca-cert-hash ${hash}`],
      /22 characters/,
    ],
    [
      ['--join', `kubeadm join --discovery-file /a --token ${token}`, '--ca-cert-hash', hash],
      /--discovery-file and --ca-cert-hash exclude/,
    ],
    [['--join', 'kubeadm join h:1', ...endpoint], /--join and --endpoint exclude/],
    [['--join', '-', '--token-file', '-'], /cannot both read standard input/],
  ] as const) {
    const title = args.join(' ').replaceAll(/[a-f\d.]{23,}/gi, 'X');
    it(`is refused: ${title.slice(0, 60)}`, async (t) => {
      const { discover } = await discoverBench(t);
      const { code, stderr } = await discover(...args);
      assert.match(stderr, message);
      assert.equal(code, 2);
      assert.ok(
        ![token.slice(7, -1), 'hunter2'].some((word) => stderr.toLowerCase().includes(word)),
      );
    });
  }

  it('takes a host name of several long parts, and never a token, for an address', () => {
    assert.equal(parseAddress('--endpoint', 'prod1.examplecompanyname.com').port, 6443);
    assert.throws(() => parseAddress('--endpoint', ` ${token} `), { code: 'USAGE' });
  });

  it('names a token file that is missing, and warns about one that others can read', async (t) => {
    const bench = await discoverBench(t);
    const missing = join(bench.directory, 'missing');
    const { code, stderr } = await bench.succeed('--token-file', missing);
    assert.equal(code, 1);
    assert.match(stderr, /--token-file .*missing does not exist \(CONFIG_UNREADABLE\)/);
    const open = join(bench.directory, 'open');
    await writeFile(open, tokenText, { mode: 0o644 });
    const warned = await bench.succeed('--token-file', open);
    assert.equal(warned.code, 0);
    assert.match(warned.stderr, /can read the token in .*open: chmod 600/);
  });
});
