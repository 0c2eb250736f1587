import { copyFile, mkdir, readFile, readdir, symlink, utimes, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { day, hour, second } from '../../../src/core/instant.ts';
import { systemClock } from '../../../src/sys/clock.ts';
import { TestNode } from '../../support/agent.ts';
import type { ControlPlane } from '../../support/control-plane.ts';
import { startSandboxControlPlane } from '../../support/sandbox-control-plane.ts';
import { olderPair } from './injection.ts';

const certificate = 'kubelet-client';
const age = 23 * hour;

/**
 * A control plane and a node with a due certificate, from which new nodes are copied in
 * milliseconds. The certificate was issued for a day on a clock 23 hours ago, so its
 * deadline has passed and an hour is left.
 */
export class NodeTemplate implements AsyncDisposable {
  readonly controlPlane: ControlPlane;
  readonly #node: TestNode;

  private constructor(controlPlane: ControlPlane, node: TestNode) {
    this.controlPlane = controlPlane;
    this.#node = node;
  }

  static async create(): Promise<NodeTemplate> {
    let behind = age;
    const clock = { ...systemClock, now: () => Date.now() - behind };
    const controlPlane = await startSandboxControlPlane({ signingSeconds: day / second, clock });
    const node = await createNode(controlPlane);
    const agent = node.start();
    await agent.event('certificate_stored');
    await agent.stop();
    behind = 0;
    return new NodeTemplate(controlPlane, node);
  }

  /** Creates a node that never had a certificate. */
  async blank(): Promise<TestNode> {
    return createNode(this.controlPlane);
  }

  /** Creates a node with a due pair, and an older pair that the next one replaces. */
  async due(): Promise<TestNode> {
    const node = await createNode(this.controlPlane);
    const from = this.#node;
    await mkdir(node.pki);
    await mkdir(join(node.directory, 'state'));
    await copyFile(
      join(from.directory, 'state/state.json'),
      join(node.directory, 'state/state.json'),
    );
    const kubeconfig = await readFile(join(from.directory, 'kubelet.conf'), 'utf8');
    await writeFile(
      join(node.directory, 'kubelet.conf'),
      kubeconfig.replaceAll(from.directory, node.directory),
      { mode: 0o600 },
    );
    const pair = basename(await from.target(certificate));
    const issued = (Date.now() - age) / second;
    for (const file of [pair, olderPair]) {
      await copyFile(join(from.pki, pair), join(node.pki, file));
      await utimes(join(node.pki, file), issued, issued);
    }
    await symlink(join(node.pki, pair), node.current(certificate));
    return node;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#node[Symbol.asyncDispose]();
    await this.controlPlane[Symbol.asyncDispose]();
  }
}

async function createNode(controlPlane: ControlPlane): Promise<TestNode> {
  return TestNode.create(controlPlane, 'crash', {
    store: { acceptVolatileDirectory: true, previousPairs: 1 },
  });
}

/** Returns the temporary files in the folders of a node. */
export async function straysOf(node: TestNode): Promise<string[]> {
  const entries = await readdir(node.directory, { recursive: true });
  return entries.filter((entry) => basename(entry).startsWith('.nodecertd-'));
}
