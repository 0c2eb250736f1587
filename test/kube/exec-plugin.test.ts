import assert from 'node:assert/strict';
import { chmod, readFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import type { AgentError } from '../../src/core/errors.ts';
import { describeError } from '../../src/core/errors.ts';
import { second } from '../../src/core/instant.ts';
import { pluginTimeoutMs } from '../../src/kube/exec-plugin.ts';
import { until } from '../keeper/fixtures.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { ApiServer, sendJson } from './support/api-server.ts';
import { makeAuthority } from './support/certificates.ts';
import { execCredential, PluginNode, v1 } from './support/plugin-node.ts';
import { failureOf, get } from './support/requests.ts';

describe('runExecPlugin()', () => {
  let server: ApiServer;
  before(async () => {
    server = await ApiServer.start(({ headers }, response) => {
      sendJson(response, { token: headers.authorization });
    });
  });
  after(() => server[Symbol.asyncDispose]());

  async function failing(node: PluginNode, exec: object = {}): Promise<AgentError> {
    await using client = await node.client(server, { exec });
    return await failureOf(get(client));
  }

  it('passes arguments, variables and KUBERNETES_EXEC_INFO, and no input', async () => {
    await using node = await PluginNode.create();
    await node.script(`
      printf '%s\\n' "$@" "$TOKEN_FOR" "$HTTPS_PROXY" "$GLIBC_TUNABLES" "$KUBERNETES_EXEC_INFO" > seen
      wc -c >> seen
      echo '${execCredential({ token: 'one' })}'`);
    process.env['HTTPS_PROXY'] = 'http://127.0.0.1:9';
    process.env['GLIBC_TUNABLES'] = 'glibc.malloc.perturb=165';
    await using client = await node.client(server, {
      exec: {
        args: ['get', 'a b'],
        env: [{ name: 'TOKEN_FOR', value: 'n1' }],
        provideClusterInfo: true,
      },
    });
    assert.deepEqual(await get(client), { token: 'Bearer one' });
    delete process.env['HTTPS_PROXY'];
    delete process.env['GLIBC_TUNABLES'];
    const seen = (await readFile(node.path('seen'), 'utf8')).trim().split('\n');
    const info = seen.splice(5, 1)[0] ?? '';
    assert.deepEqual(seen, ['get', 'a b', 'n1', 'http://127.0.0.1:9', '', '0']);
    const { apiVersion, spec } = JSON.parse(info) as {
      apiVersion: string;
      spec: { cluster: { server: string } };
    };
    assert.equal(apiVersion, v1);
    assert.equal(spec.cluster.server, server.url);
  });

  it('finds a name without a slash in PATH', async () => {
    await using node = await PluginNode.create();
    await node.answer(execCredential({ token: 'by-path' }));
    const path = process.env['PATH'];
    process.env['PATH'] = `.:${node.path('')}:${path}`;
    await using client = await node.client(server, { exec: { command: 'plugin' } });
    assert.deepEqual(await get(client), { token: 'Bearer by-path' });
    process.env['PATH'] = path;
  });

  interface Case {
    readonly name: string;
    readonly script: string;
    readonly message: RegExp;
    readonly remedy?: RegExp;
    readonly exec?: object;
  }
  const cases: readonly Case[] = [
    {
      name: 'the exit code, the last lines of standard error and the command to try',
      script:
        'echo Traceback >&2; echo "no credentials" >&2; echo "Run aws configure" >&2; exit 255',
      exec: { args: ['eks', 'get-token'] },
      message:
        /plugin of kubeconfig \S+ failed with exit code 255: no credentials \/ Run aws configure$/,
      remedy:
        /^Run the plugin as root and correct the error that it reports: \S+\/plugin eks get-token$/,
    },
    {
      name: 'the signal that killed the plugin',
      script: 'kill -9 $$',
      message: /was killed by SIGKILL$/,
    },
    {
      name: 'output that is not an ExecCredential',
      script: 'echo Secret-4711',
      message: /printed no usable ExecCredential: the document must be Object$/,
    },
    {
      name: 'an ExecCredential of another version',
      script: `echo '${execCredential({ token: 'Secret-4711' }, 'client.authentication.k8s.io/v1beta1')}'`,
      message:
        /returned apiVersion client\.authentication\.k8s\.io\/v1beta1, but apiVersion .* \S+\/v1$/,
      remedy: /^Set apiVersion of exec in \S+\/kubeconfig to the version that \S+\/plugin returns$/,
    },
    {
      name: 'endless output',
      script: 'exec yes Secret-4711',
      message: /printed more than 256 kB$/,
    },
    {
      name: 'a program that is not in PATH, with the install hint',
      script: '',
      exec: { command: 'no-such-plugin', installHint: 'apt install no-such-plugin' },
      message: /the exec plugin no-such-plugin of kubeconfig \S+ was not found in PATH \(/,
      remedy: /^Install no-such-plugin: apt install no-such-plugin$/,
    },
    {
      name: 'a path that does not exist',
      script: '',
      exec: { command: './gone' },
      message: /\/gone of kubeconfig \S+ cannot run: ENOENT/,
    },
    {
      name: 'an interpreter that does not exist',
      script: '',
      exec: { command: './odd' },
      message: /could not be started: the program, or its interpreter, does not exist$/,
    },
  ];
  for (const { name, script, message, remedy = /./, exec } of cases) {
    it(`reports ${name}`, async () => {
      await using node = await PluginNode.create();
      await node.script(script);
      await node.file('odd', '#!/no/such/interpreter\n', 0o755);
      const failure = await failing(node, exec);
      assert.equal(failure.code, 'PLUGIN_FAILED', describeError(failure));
      assert.match(failure.message, message);
      assert.match(failure.remedy ?? '', remedy);
      assert.doesNotMatch(describeError(failure) + String(failure.remedy), /4711/);
    });
  }

  it('redacts credentials in standard error', async () => {
    await using node = await PluginNode.create();
    const token = `k8s-aws-v1.${Buffer.from('x'.repeat(60)).toString('base64url')}`;
    await node.script(`echo 'token ${token}: expired, key AKIA4711ZZXW0815QQPL' >&2; exit 1`);
    const failure = await failing(node);
    assert.match(failure.message, /exit code 1: token … expired, key …$/);
  });

  it('ends a plugin at its timeout', async () => {
    await using node = await PluginNode.create();
    await node.script('echo > started; exec sleep 600');
    const clock = new FakeClock();
    await using client = await node.client(server, { clock });
    let message: string | undefined;
    void failureOf(get(client)).then((failure) => (message = failure.message));
    await until('the time limit runs', () => clock.sleeping > 0);
    await clock.advance(pluginTimeoutMs);
    // The grace period after SIGTERM passes on the same clock.
    await until('the end', () => {
      void clock.advance(second);
      return message !== undefined;
    });
    assert.match(message ?? '', /timed out after 30s$/);
  });

  for (const [name, file] of [
    ['the program', 'plugin'],
    ['the kubeconfig', 'kubeconfig'],
  ] as const) {
    it(`does not run when others can change ${name}`, async () => {
      await using node = await PluginNode.create();
      await node.answer(execCredential({ token: 'one' }));
      await using client = await node.client(server);
      await chmod(node.path(file), 0o777);
      const failure = await failureOf(get(client));
      assert.equal(failure.code, 'PLUGIN_FAILED');
      assert.match(failure.message, new RegExp(`must not run as root: \\S+/${file} has mode 0777`));
      assert.match(failure.remedy ?? '', new RegExp(`^Fix the mode: chmod go-w \\S+/${file}$`));
      assert.equal(await node.runs(), 0);
    });
  }

  it('reports a key that belongs to another certificate', async () => {
    await using node = await PluginNode.create();
    const authority = await makeAuthority('ca');
    const [one, two] = await Promise.all(
      ['one', 'two'].map((commonName) => authority.issue({ commonName, usages: ['client auth'] })),
    );
    await node.answer(
      execCredential({ clientCertificateData: one?.cert, clientKeyData: two?.key }),
    );
    const failure = await failing(node);
    assert.equal(failure.code, 'PLUGIN_FAILED');
    assert.match(failure.message, /returned a certificate and a key that cannot be used together$/);
  });
});
