import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, mkdir, readFile, readdir, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { stringify } from 'yaml';
import { Secret } from '../../src/core/secret.ts';
import type { BootstrapContent, BootstrapFiles } from '../../src/store/bootstrap-kubeconfig.ts';
import {
  planBootstrapFiles,
  requireReplaceable,
  writeBootstrapFiles,
} from '../../src/store/bootstrap-kubeconfig.ts';
import { kubeletKubeconfig } from '../../src/store/kubeconfig-text.ts';
import { authorityPem, contentWith, newToken, oldToken } from './bootstrap-contents.ts';
import { temporaryDirectory } from './pairs.ts';

interface Place {
  readonly directory: string;
  readonly kubeconfig: string;
  readonly caFile: string;
  readonly write: (
    content: BootstrapContent,
    options?: Partial<BootstrapFiles>,
  ) => Promise<(string | undefined)[]>;
}

async function place(t: TestContext): Promise<Place> {
  const directory = await temporaryDirectory(t);
  const kubeconfig = join(directory, 'bootstrap.conf');
  const caFile = join(directory, 'ca.crt');
  return {
    directory,
    kubeconfig,
    caFile,
    write: async (content, options = {}) => {
      const files = { kubeconfig, force: false, ...options };
      const planned = await planBootstrapFiles(files, content);
      const outcomes = await writeBootstrapFiles(files, content);
      assert.deepEqual(planned, outcomes);
      return outcomes.map(({ change }) => change);
    },
  };
}

async function modeOf(path: string): Promise<string> {
  return ((await stat(path)).mode & 0o7777).toString(8);
}

function certificateContent(): BootstrapContent {
  return {
    ...contentWith(oldToken),
    credential: {
      kind: 'certificate',
      pem: authorityPem(3),
      key: new Secret(new TextEncoder().encode('the key')),
    },
  };
}

describe('writeBootstrapFiles()', () => {
  it('creates the file with mode 0600, and its directory', async (t) => {
    const { directory, write } = await place(t);
    const kubeconfig = join(directory, 'etc/kubernetes/bootstrap.conf');
    assert.deepEqual(await write(contentWith(oldToken), { kubeconfig }), ['created']);
    assert.match(await readFile(kubeconfig, 'utf8'), new RegExp(`token: '${oldToken}'`));
    assert.equal(await modeOf(kubeconfig), '600');
  });

  it('names the CA file if there is one, and writes it first', async (t) => {
    const { kubeconfig, caFile, write } = await place(t);
    assert.deepEqual(await write(contentWith(oldToken), { caFile }), ['created', 'created']);
    const text = await readFile(kubeconfig, 'utf8');
    assert.match(text, new RegExp(`certificate-authority: ${caFile}\n`));
    assert.doesNotMatch(text, /certificate-authority-data/);
    assert.deepEqual(new Uint8Array(await readFile(caFile)), new Uint8Array(authorityPem(1)));
    assert.equal(await modeOf(caFile), '600');
  });

  it('leaves the same content alone, and restores the mode', async (t) => {
    const { kubeconfig, caFile, write } = await place(t);
    await write(contentWith(oldToken), { caFile });
    const before = await stat(kubeconfig);
    assert.deepEqual(await write(contentWith(oldToken), { caFile }), ['unchanged', 'unchanged']);
    assert.equal((await stat(kubeconfig)).ino, before.ino);
    for (const path of [kubeconfig, caFile]) await chmod(path, 0o644);
    assert.deepEqual(await write(contentWith(oldToken), { caFile }), ['replaced', 'replaced']);
    assert.equal(await modeOf(kubeconfig), '600');
  });

  it('replaces another server or another CA with the same token', async (t) => {
    const { kubeconfig, write } = await place(t);
    await write(contentWith(oldToken));
    const cluster = { server: 'https://10.0.0.2:6443' };
    assert.deepEqual(await write(contentWith(oldToken, { cluster })), ['replaced']);
    assert.match(await readFile(kubeconfig, 'utf8'), /10\.0\.0\.2/);
    assert.deepEqual(
      await write(contentWith(oldToken, { cluster, authorities: authorityPem(2) })),
      ['replaced'],
    );
  });

  it('refuses a file with another token, unless forced', async (t) => {
    const { directory, kubeconfig, write } = await place(t);
    await write(contentWith(oldToken));
    const before = await readFile(kubeconfig, 'utf8');
    await assert.rejects(write(contentWith(newToken)), (error: Error & { remedy?: string }) => {
      assert.match(error.message, /bootstrap\.conf exists and has another token/);
      assert.match(error.remedy ?? '', /--force/);
      assert.ok(![oldToken, newToken].some((token) => error.message.includes(token)));
      return true;
    });
    assert.equal(await readFile(kubeconfig, 'utf8'), before);
    assert.deepEqual(await write(contentWith(newToken), { force: true }), ['replaced']);
    assert.match(await readFile(kubeconfig, 'utf8'), new RegExp(newToken));
    // A copy would keep the previous token on the disk.
    assert.deepEqual(await readdir(directory), ['bootstrap.conf']);
  });

  it('refuses a CA file with other CAs, unless forced', async (t) => {
    const { caFile, write } = await place(t);
    await writeFile(caFile, `# our CA\n${Buffer.from(authorityPem(2)).toString()}`);
    await assert.rejects(write(contentWith(oldToken), { caFile }), {
      code: 'BOOTSTRAP_EXISTS',
      message: `${caFile} has other CAs than the cluster`,
    });
    assert.deepEqual(await write(contentWith(oldToken), { caFile, force: true }), [
      'replaced',
      'created',
    ]);
  });

  it('keeps a private CA file with the same CAs in other text', async (t) => {
    const { caFile, write } = await place(t);
    await writeFile(caFile, `# our CA\n${Buffer.from(authorityPem(1)).toString()}`, {
      mode: 0o600,
    });
    assert.deepEqual(await write(contentWith(oldToken), { caFile }), ['unchanged', 'created']);
  });

  for (const [what, text] of [
    [
      'the configuration of a kubelet',
      'kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1beta1\n',
    ],
    [
      'the kubeconfig of a node',
      kubeletKubeconfig({
        cluster: { server: 'https://a', insecureSkipTlsVerify: false },
        certificatePath: '/a.pem',
      }),
    ],
    [
      'a kubeconfig of several clusters',
      stringify({ apiVersion: 'v1', kind: 'Config', clusters: [], contexts: [], users: [] }),
    ],
    ['text', 'once upon a time'],
    ['binary data', Buffer.from([1, 0, 255])],
  ] as const) {
    it(`refuses ${what}, also if forced`, async (t) => {
      const { kubeconfig, write } = await place(t);
      await writeFile(kubeconfig, text);
      const refused = write(contentWith(oldToken), { force: true });
      await assert.rejects(refused, { code: 'KUBECONFIG_INVALID' });
      assert.deepEqual(await readFile(kubeconfig), Buffer.from(text));
    });
  }

  it('refuses a directory, and a CA file with a key', async (t) => {
    const { kubeconfig, caFile, write } = await place(t);
    await writeFile(caFile, '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n');
    const forced = { caFile, force: true };
    await assert.rejects(write(contentWith(oldToken), forced), { code: 'BOOTSTRAP_EXISTS' });
    await mkdir(kubeconfig);
    await assert.rejects(write(contentWith(oldToken)), { code: 'KUBECONFIG_INVALID' });
  });

  it('writes over an empty file, or one that a power loss has filled with NUL', async (t) => {
    const { kubeconfig, write } = await place(t);
    for (const text of ['', '\0\0\0\n']) {
      await writeFile(kubeconfig, text, { mode: 0o644 });
      assert.deepEqual(await write(contentWith(oldToken)), ['created']);
      assert.equal(await modeOf(kubeconfig), '600');
    }
  });

  it('keeps a link, and writes the file to which it leads', async (t) => {
    const { directory, kubeconfig, write } = await place(t);
    const target = join(directory, 'target.conf');
    await symlink(target, kubeconfig);
    await write(contentWith(oldToken));
    assert.match(await readFile(target, 'utf8'), /token/);
  });

  it('writes a client certificate, and recognizes it', async (t) => {
    const { kubeconfig, write } = await place(t);
    assert.deepEqual(await write(certificateContent()), ['created']);
    assert.deepEqual(await write(certificateContent()), ['unchanged']);
    const encoded = Buffer.from('the key').toString('base64');
    assert.match(await readFile(kubeconfig, 'utf8'), new RegExp(`client-key-data: ${encoded}\n`));
  });
});

describe('requireReplaceable()', () => {
  it('refuses another token, and removes what a killed run has left', async (t) => {
    const { directory, kubeconfig, write } = await place(t);
    await write(contentWith(oldToken));
    const stray = join(directory, '.nodecertd-0123456789abcdef.bootstrap.conf~');
    await writeFile(stray, newToken);
    const { credential } = contentWith(newToken);
    const refused = requireReplaceable({ kubeconfig, force: false }, credential);
    await assert.rejects(refused, { code: 'BOOTSTRAP_EXISTS' });
    await requireReplaceable({ kubeconfig, force: true }, credential);
    assert.deepEqual(await readdir(directory), ['bootstrap.conf']);
  });

  it('does nothing where nothing exists', async (t) => {
    const missing = join(await temporaryDirectory(t), 'missing');
    const files = {
      kubeconfig: join(missing, 'a/b.conf'),
      caFile: join(missing, 'ca'),
      force: false,
    };
    await requireReplaceable(files, undefined);
  });
});

describe('requireReplaceable() without privileges', () => {
  it('says that the directory cannot be written', async (t) => {
    const directory = await temporaryDirectory(t);
    await chmod(directory, 0o555);
    const program = join(import.meta.dirname, 'replaceable.process.ts');
    const path = join(directory, 'etc/kubernetes/bootstrap.conf');
    const { stdout } = await promisify(execFile)(process.execPath, [program, path]);
    const { code, message } = JSON.parse(stdout) as { code: string; message: string };
    assert.equal(code, 'STORE_PERMISSIONS');
    assert.match(message, new RegExp(`^cannot write to ${directory}: EACCES`));
  });
});

describe('writeBootstrapFiles() killed at any step', () => {
  const writer = join(import.meta.dirname, 'bootstrap-kubeconfig.process.ts');

  const run = (directory: string, step: number): Promise<{ killed: boolean; stdout: string }> =>
    new Promise((resolve, reject) => {
      execFile(process.execPath, [writer, directory, String(step)], (error, stdout) => {
        if (error !== null && error.signal !== 'SIGKILL') reject(error);
        else resolve({ killed: error !== null, stdout });
      });
    });

  it('leaves the old or the new files, with mode 0600, and the next run cleans up', async (t) => {
    const { stdout } = await run(await temporaryDirectory(t), 0);
    const steps = stdout.trim().split('\n').length;
    assert.ok(steps >= 8, stdout);
    for (let step = 1; step <= steps; step += 1) {
      const { directory, kubeconfig, caFile, write } = await place(t);
      await write(contentWith(oldToken, { authorities: authorityPem(2) }), { caFile });
      const old = await Promise.all([kubeconfig, caFile].map((path) => readFile(path, 'utf8')));
      assert.equal((await run(directory, step)).killed, true);
      const left = await Promise.all([kubeconfig, caFile].map((path) => readFile(path, 'utf8')));
      assert.ok(left[0] === old[0] || left[0]?.includes(`'${newToken}'`), `step ${step}`);
      assert.ok(left[1] === old[1] || left[1] === Buffer.from(authorityPem(1)).toString());
      // The new kubeconfig never comes before its CA.
      assert.ok(left[0] === old[0] || left[1] !== old[1]);
      for (const name of await readdir(directory)) {
        assert.equal(await modeOf(join(directory, name)), '600', `step ${step}: ${name}`);
      }
      await write(contentWith(newToken), { caFile, force: true });
      assert.deepEqual((await readdir(directory)).toSorted(), ['bootstrap.conf', 'ca.crt']);
    }
    t.diagnostic(`${steps} steps`);
  });
});
