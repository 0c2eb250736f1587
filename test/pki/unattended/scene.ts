import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { day, hour } from '../../../src/core/instant.ts';
import type { UnattendedRenewal } from '../../../src/core/unattended-renewal.ts';
import type { UnattendedRequest } from '../../../src/pki/unattended/unattended.ts';
import { renewUnattended } from '../../../src/pki/unattended/unattended.ts';
import { readRuns } from '../../../src/store/run-folder.ts';
import type { Manifest } from '../../../src/store/run-manifest.ts';
import { writeManifest } from '../../../src/store/run-manifest.ts';
import type { ClockSync } from '../../../src/sys/clock-sync.ts';
import { ApiServer, sendJson } from '../../kube/support/api-server.ts';
import { makeAuthority } from '../../kube/support/certificates.ts';
import { handlers, LeaseApi } from '../../kube/support/lease-api.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { issueWithOpenssl } from '../renewal/openssl-authority.ts';
import type { KubeadmTree } from '../renewal/renewal-tree.ts';
import { copyOf, optionsFor, requestFor } from '../renewal/renewal-tree.ts';

export const leaseKey = 'kube-system/nodecertd-pki-renewal';

/** A control-plane node whose admin.conf leads to an API server with Leases and Nodes. */
export class Scene {
  readonly tree: KubeadmTree;
  readonly server: ApiServer;
  readonly api = new LeaseApi();
  /** 330 days after the certificates were issued for 365 days. */
  readonly clock = new FakeClock(Date.now() + 330 * day);
  sync: ClockSync = 'synchronized';
  /** Milliseconds by which the API server is ahead. */
  serverAhead = 0;
  /** Nodes of the control plane, with their addresses. */
  readonly nodes = new Map([['cp1', '10.99.0.11']]);
  readonly #stop = new AbortController();
  /** Called when a certificate is about to be renewed, or a check begins. */
  onStep: (what: string) => void = () => undefined;

  private constructor(tree: KubeadmTree, server: ApiServer) {
    this.tree = tree;
    this.server = server;
  }

  static async start(context: TestContext, model: KubeadmTree): Promise<Scene> {
    const tree = await copyOf(context, model);
    const { certificate, key } = issueWithOpenssl({
      subject: '/CN=kube-apiserver',
      extensions: ['subjectAltName=IP:127.0.0.1,DNS:kubernetes.default.svc'],
      signer: tree.authorities.ca,
    });
    const server = await ApiServer.start(() => undefined, {
      authority: await makeAuthority('unused'),
      pair: { cert: certificate.toString(), key: key.toString() },
    });
    context.after(() => server[Symbol.asyncDispose]());
    const scene = new Scene(tree, server);
    server.handler = scene.#answer;
    const admin = join(tree.kubernetes, 'admin.conf');
    const text = await readFile(admin, 'utf8');
    await writeFile(admin, text.replace('https://10.99.0.11:6443', server.url));
    return scene;
  }

  readonly #answer: ApiServer['handler'] = (request, response) => {
    response.setHeader('date', new Date(this.clock.now() + this.serverAhead).toUTCString());
    handlers(this.api.handle, () => {
      if (request.url?.startsWith('/readyz') === true) response.end('ok');
      else if (request.url?.startsWith('/api/v1/nodes') === true)
        sendJson(response, this.#nodeList);
      else if (request.url?.includes('/endpointslices/') === true) sendJson(response, this.#slice);
      else return false;
      return true;
    })(request, response);
  };

  get #nodeList(): unknown {
    const items = [...this.nodes].map(([name, address]) => ({
      metadata: { name },
      status: { addresses: [{ type: 'InternalIP', address }] },
    }));
    return { items };
  }

  get #slice(): unknown {
    return { endpoints: [], ports: [{ name: 'https', port: this.server.port }] };
  }

  /** As Ctrl-C does. */
  interrupt(): void {
    this.#stop.abort();
  }

  releasedAgo(ms: number): void {
    const renewTime = new Date(this.clock.now() - ms).toISOString();
    this.api.put(leaseKey, { leaseDurationSeconds: 60, renewTime });
  }

  /**
   * A call that was killed after it had replaced all files: its memory is the one of the beginning,
   * and the manifest of its run may still say `applying`.
   */
  async runAndKill(state: Manifest['state']): Promise<UnattendedRenewal> {
    const folder = join(this.tree.kubernetes, '.nodecertd');
    const memory = join(folder, 'unattended.json');
    let begun: Buffer | undefined;
    this.onStep = () => {
      if (existsSync(memory)) begun ??= readFileSync(memory);
    };
    const printed = await this.run();
    assert.ok(begun !== undefined);
    await writeFile(memory, begun);
    const [run] = (await readRuns(folder)).active;
    assert.ok(run !== undefined);
    await writeManifest({ ...run, manifest: { ...run.manifest, state } });
    return printed;
  }

  run(schedule: Partial<UnattendedRequest['schedule']> = {}): Promise<UnattendedRenewal> {
    const { lifetime } = optionsFor();
    return renewUnattended({
      renewal: { ...requestFor(this.tree), clock: this.clock, signal: this.#stop.signal },
      options: { lifetime, hostName: 'cp1' },
      schedule: { rotation: { from: 0.7, to: 0.9 }, offsetAt: () => hour, ...schedule },
      node: { components: [], kubelet: undefined },
      addresses: new Set(['10.99.0.11']),
      clockSync: () => Promise.resolve(this.sync),
      describe: () => ({}),
      onStep: (what, state) => {
        if (state === 'started') this.onStep(what);
      },
    });
  }
}
