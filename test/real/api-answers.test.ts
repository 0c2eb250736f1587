import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { CertificateTemplate } from '../../src/core/certificate-spec.ts';
import { nodeSubject } from '../../src/core/certificate-spec.ts';
import type { EnrollerReport } from '../../src/core/enroller-protocol.ts';
import { minute } from '../../src/core/instant.ts';
import { Enroller } from '../../src/enroller/enroller.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { clientTemplate } from '../core/fixtures.ts';
import { agentConfig } from '../keeper/fixtures.ts';
import { makeAuthority } from '../kube/support/certificates.ts';
import { createClusterCa } from '../support/cluster-pki.ts';
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
