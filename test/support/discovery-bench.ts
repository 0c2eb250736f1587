import assert from 'node:assert/strict';
import type { ClusterCa } from './cluster-pki.ts';
import { createClusterCa } from './cluster-pki.ts';
import { DiscoveryPlane, pinOf, servingOf } from './discovery-plane.ts';
import type { Ended } from './doctor.ts';
import type { FaultProxy } from './fault-proxy.ts';
import { skipWithoutGoProgram } from './go-program.ts';
import { KubeadmTwin } from './kubeadm-twin.ts';
import { accessIn, NewMachine } from './new-machine.ts';
import { skipWithoutRealControlPlane } from './real-control-plane.ts';

/** For the `skip` option of a test. @throws in CI, where no test may be skipped */
export function skipWithoutDiscovery(): string | false {
  return skipWithoutRealControlPlane() || skipWithoutGoProgram('kubeadm-discovery');
}

/** A cluster, and two ways to discover it: with kubeadm's code, and with `nodecertd discover`. */
export class DiscoveryBench implements AsyncDisposable {
  readonly cluster: DiscoveryPlane;
  readonly kubeadm = new KubeadmTwin();
  /** Both are called "kubernetes". */
  readonly oldCa: ClusterCa;
  readonly newCa: ClusterCa;

  private constructor(cluster: DiscoveryPlane, oldCa: ClusterCa, newCa: ClusterCa) {
    this.cluster = cluster;
    this.oldCa = oldCa;
    this.newCa = newCa;
  }

  static async start(): Promise<DiscoveryBench> {
    const [oldCa, newCa] = await Promise.all([createClusterCa(), createClusterCa()]);
    return new DiscoveryBench(await DiscoveryPlane.start(), oldCa, newCa);
  }

  /** A machine with a new token, for which cluster-info is signed. */
  async newMachine(): Promise<NewMachine> {
    return NewMachine.create(await this.cluster.createSignedToken());
  }

  /** An API server with a certificate of this CA, and cluster-info that lists these CAs. */
  async startServer(
    { servedBy, bridge = '' }: { readonly servedBy: ClusterCa; readonly bridge?: string },
    ...listed: readonly ClusterCa[]
  ): Promise<FaultProxy> {
    const { certificatePem, keyPem } = await servingOf(servedBy);
    const serving = { certificatePem: certificatePem + bridge, keyPem };
    const proxy = await this.cluster.startProxy(serving);
    const caPem = listed.map((ca) => ca.certificatePem).join('');
    await this.cluster.publish({ server: proxy.server, caPem });
    return proxy;
  }

  /** Discovers the cluster with both programs. @throws unless both get the same */
  async requireSame(
    machine: NewMachine,
    { server }: Pick<FaultProxy, 'server'>,
    pins: readonly string[],
  ): Promise<void> {
    const ended = await machine.discover(...argsFor({ server }, pins));
    assert.equal(ended.code, 0, ended.stderr);
    const { token } = machine;
    const theirs = await this.kubeadm.discover({ endpoint: new URL(server).host, token, pins });
    assert.deepEqual(await machine.access(), accessIn(theirs));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kubeadm[Symbol.asyncDispose]();
    await this.cluster[Symbol.asyncDispose]();
  }
}

/** The arguments of `discover` for a server and the pins of CAs. */
export function argsFor({ server }: Pick<FaultProxy, 'server'>, pins: readonly string[]): string[] {
  const hashes = pins.flatMap((pin) => ['--ca-cert-hash', pin]);
  return ['--endpoint', new URL(server).host, ...hashes];
}

export function pinsOf(...authorities: readonly ClusterCa[]): string[] {
  return authorities.map(({ certificatePem }) => pinOf(certificatePem));
}

/** @throws unless the command failed with this message, and wrote nothing */
export async function requireRefusal(
  machine: NewMachine,
  { code, stderr }: Ended,
  message: RegExp,
): Promise<void> {
  assert.equal(code, 1, stderr);
  assert.match(stderr, message);
  assert.deepEqual(await machine.files(), {});
}
