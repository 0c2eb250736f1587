import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { after, before, describe, it } from 'node:test';
import { parse, stringify } from 'yaml';
import { discoverCluster } from '../../src/discovery/discover-cluster.ts';
import type { CertificateTemplate } from '../../src/core/certificate-spec.ts';
import { nodeSubject } from '../../src/core/certificate-spec.ts';
import type { EnrollerReport } from '../../src/core/enroller-protocol.ts';
import { minute } from '../../src/core/instant.ts';
import { Enroller } from '../../src/enroller/enroller.ts';
import type { ApiIdentity } from '../../src/kube/access-review.ts';
import { whoAmI } from '../../src/kube/access-review.ts';
import { loadKubeconfig } from '../../src/kube/kubeconfig.ts';
import { KubeClient } from '../../src/kube/rest-client.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { clientTemplate } from '../core/fixtures.ts';
import { agentConfig } from '../keeper/fixtures.ts';
import { makeAuthority } from '../kube/support/certificates.ts';
import { execCredential, v1 } from '../kube/support/plugin-node.ts';
import { temporaryDirectory } from '../store/pairs.ts';
import { fingerprintOf, parsePair } from '../support/agent.ts';
import { createClusterCa } from '../support/cluster-pki.ts';
import { bootstrapToken } from '../support/real-bootstrap.ts';
import { kubeconfig } from '../support/real-components.ts';
import type { RealControlPlane } from '../support/real-control-plane.ts';
import {
  skipWithoutRealControlPlane,
  startRealControlPlane,
} from '../support/real-control-plane.ts';
import { startTlsEndingProxy } from '../support/tls-ending-proxy.ts';

type Outcome = Extract<EnrollerReport, { type: 'stored' | 'failed' }>;

/** A node with an enroller, whose attempts a test awaits. */
class Node implements AsyncDisposable {
  readonly directory: string;
  readonly #enroller: Enroller;
  #settle: (outcome: Outcome) => void = () => undefined;

  private constructor(directory: string) {
    this.directory = directory;
    this.#enroller = new Enroller({
      config: agentConfig(directory),
      version: 'test',
      clock: systemClock,
      random: Math.random,
      interfaces: () => [],
      checkNode: async () => [],
      discover: discoverCluster,
      report: (report) => {
        if (report.type === 'stored' || report.type === 'failed') this.#settle(report);
      },
    });
  }

  static async create(bootstrapKubeconfig: string): Promise<Node> {
    const directory = await mkdtemp(join(tmpdir(), 'nodecertd-answers-'));
    await mkdir(join(directory, 'pki'));
    await writeFile(join(directory, 'bootstrap.conf'), bootstrapKubeconfig, { mode: 0o600 });
    return new Node(directory);
  }

  async enroll(template: CertificateTemplate = clientTemplate): Promise<Outcome> {
    const { promise, resolve } = Promise.withResolvers<Outcome>();
    this.#settle = resolve;
    this.#enroller.handle({ type: 'enroll', id: 1, name: 'kubelet-client', template });
    return promise;
  }

  current(): Promise<string> {
    return readFile(join(this.directory, 'pki/kubelet-client-current.pem'), 'utf8');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#enroller[Symbol.asyncDispose]();
    await rm(this.directory, { recursive: true });
  }
}

function failureOf(outcome: Outcome): Extract<Outcome, { type: 'failed' }>['failure'] {
  assert.equal(outcome.type, 'failed');
  return outcome.failure;
}

/** A kubeconfig user with an exec plugin that prints this credential. */
async function pluginUser(context: TestContext, credential: object): Promise<object> {
  const command = join(await temporaryDirectory(context), 'plugin');
  const script = `#!/bin/sh\ncat <<'END'\n${execCredential(credential)}\nEND\n`;
  await writeFile(command, script, { mode: 0o755 });
  return { exec: { apiVersion: v1, command, interactiveMode: 'Never' } };
}

/** The user that the API server sees in a request with this kubeconfig. */
async function userSeen(context: TestContext, text: string): Promise<ApiIdentity | 'unknown'> {
  const path = join(await temporaryDirectory(context), 'kubeconfig');
  await writeFile(path, text, { mode: 0o600 });
  using access = await loadKubeconfig(path);
  await using client = await KubeClient.open({ access, version: 'test', clock: systemClock });
  return await whoAmI(client, context.signal);
}

void describe(
  'Enroller on a real cluster',
  { skip: skipWithoutRealControlPlane(), timeout: 3 * minute },
  () => {
    let plane: RealControlPlane;

    before(async () => {
      plane = await startRealControlPlane({ signingSeconds: 3_600 });
    });

    after(async () => {
      await plane[Symbol.asyncDispose]();
    });

    /** The users that request the CSRs of an enrollment. */
    async function requestorsOf(node: Node): Promise<string[]> {
      const known = new Set((await plane.csrs()).map(({ name }) => name));
      assert.equal((await node.enroll()).type, 'stored');
      const created = (await plane.csrs()).filter(({ name }) => !known.has(name));
      return created.map(({ username }) => username);
    }

    it('names the node name to configure after a rename', async () => {
      await using node = await Node.create(await plane.bootstrapKubeconfig());
      assert.equal((await node.enroll()).type, 'stored');
      const failure = failureOf(
        await node.enroll({ ...clientTemplate, subject: nodeSubject('renamed') }),
      );
      assert.equal(failure.code, 'API_FORBIDDEN');
      assert.match(failure.remedy ?? '', /^Set nodeName \(--hostname-override\) to worker-1; or/);
    });

    it('reports a wrong path in the URL of the server as API_BAD_RESPONSE', async () => {
      const text = await plane.bootstrapKubeconfig();
      const { server } = plane;
      await using node = await Node.create(text.replace(server, `${server}/any/prefix`));
      const failure = failureOf(await node.enroll());
      assert.equal(failure.code, 'API_BAD_RESPONSE');
      assert.ok(failure.message.includes(`${server}/any/prefix`), failure.message);
    });

    it('stores nothing behind a load balancer that terminates TLS', async () => {
      const authority = await makeAuthority('load-balancer');
      const { server, caPem: ca } = plane;
      await using proxy = await startTlsEndingProxy({ server, ca, authority });
      const text = (await plane.bootstrapKubeconfig())
        .replace(server, proxy.url)
        .replace(/(certificate-authority-data: ).*/, `$1${btoa(authority.pem)}`);
      await using node = await Node.create(text);
      const failure = failureOf(await node.enroll());
      assert.equal(failure.code, 'API_ANONYMOUS', failure.message);
      assert.doesNotMatch(`${failure.message} ${failure.remedy}`, /[Bb]ind|role/);
      await assert.rejects(node.current(), { code: 'ENOENT' });
    });

    it('requests a certificate with the token of an exec plugin', async (context) => {
      const { server, caPem } = plane;
      const user = await pluginUser(context, { token: bootstrapToken });
      await using node = await Node.create(kubeconfig({ server, caPem, user }));
      assert.deepEqual(await requestorsOf(node), ['system:bootstrap:test01']);
    });

    it('authenticates with the client certificate of an exec plugin', async (context) => {
      await using node = await Node.create(await plane.bootstrapKubeconfig());
      assert.equal((await node.enroll()).type, 'stored');
      const pair = await node.current();
      const [certificate = '', key = ''] = pair.split(/(?=-----BEGIN [A-Z ]*PRIVATE KEY)/);
      const { server, caPem } = plane;
      const user = await pluginUser(context, {
        clientCertificateData: certificate,
        clientKeyData: key,
      });
      const before = (await plane.requests()).length;
      assert.deepEqual(await userSeen(context, kubeconfig({ server, caPem, user })), {
        username: 'system:node:worker-1',
        groups: ['system:nodes', 'system:authenticated'],
      });
      const later = (await plane.requests()).slice(before);
      const review = later.find(({ resource }) => resource === 'selfsubjectreviews');
      assert.equal(review?.user, 'system:node:worker-1');
      assert.equal(review.fingerprint, fingerprintOf(parsePair(pair)));
    });

    it('acts as the user and the groups that its kubeconfig impersonates', async (context) => {
      const document = parse(await plane.adminKubeconfig()) as { users: { user: object }[] };
      const username = 'system:bootstrap:other1';
      const groups = ['system:bootstrappers', 'system:authenticated'];
      Object.assign(document.users[0]?.user ?? {}, { as: username, 'as-groups': groups });
      const text = stringify(document);
      assert.deepEqual(await userSeen(context, text), { username, groups });
      await using node = await Node.create(text);
      assert.deepEqual(await requestorsOf(node), [username]);
    });

    it('keeps its certificate while the API server does not know the CA of the signer', async () => {
      await using node = await Node.create(await plane.bootstrapKubeconfig());
      assert.equal((await node.enroll()).type, 'stored');
      const before = await node.current();
      const next = await createClusterCa();
      await plane.signWith(next);
      const failure = failureOf(await node.enroll());
      assert.equal(failure.code, 'CERT_UNTRUSTED', failure.message);
      assert.match(failure.remedy ?? '', /kube-apiserver --client-ca-file/);
      assert.equal(await node.current(), before);
      await plane.trustClientsOf(next);
      const outcome = await node.enroll();
      assert.equal(outcome.type, 'stored', JSON.stringify(outcome));
      assert.notEqual(await node.current(), before);
    });
  },
);
