import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { day } from '../../src/core/instant.ts';
import { shortFingerprint } from '../../src/core/trust.ts';
import { fingerprintOf } from './agent.ts';
import type { AuditedRequest } from './control-plane.ts';
import type { ClusterCa, KeyPair, LeafRequest } from './cluster-pki.ts';
import { createClusterCa } from './cluster-pki.ts';
import type { ApiClient } from './api-client.ts';
import { DiscoveryPlane, pinOf } from './discovery-plane.ts';
import {
  adminLeaf,
  apiServerLeaf,
  controllerManagerLeaf,
  kubeletClientLeaf,
  keyPairUser,
  kubeconfig,
} from './real-components.ts';
import { submitNodeCsr } from './node-csr.ts';
import { csrPath, withCondition } from './real-csr.ts';
import type { CsrObject } from './real-csr.ts';
import type { RealControlPlane } from './real-control-plane.ts';
import { startRealControlPlane } from './real-control-plane.ts';
import type { SingleRequest } from './single-request.ts';
import { statusOfNewConnection } from './single-request.ts';
import { until } from './until.ts';

export interface RolloverOptions {
  /** Where clients find the API server, in addition to loopback. */
  readonly address?: string;
  readonly apiServerFlags?: readonly string[];
  /** By default one that was created 30 days ago. */
  readonly oldCa?: ClusterCa;
}

/**
 * A real control plane that replaces its CA step by step, as an administrator with a script does.
 * Each method is one step and waits until its effect shows. The order is up to the test.
 */
export class RolloverPlane implements AsyncDisposable {
  readonly plane: RealControlPlane;
  readonly discovery: DiscoveryPlane;
  readonly oldCa: ClusterCa;
  readonly newCa: ClusterCa;
  readonly #serving: LeafRequest;
  #csrs = 0;
  #admin: KeyPair | undefined;

  private constructor(parts: PlaneParts) {
    this.plane = parts.discovery.plane;
    this.discovery = parts.discovery;
    this.oldCa = parts.oldCa;
    this.newCa = parts.newCa;
    this.#serving = parts.serving;
  }

  static async start({
    address,
    apiServerFlags = [],
    oldCa: given,
  }: RolloverOptions = {}): Promise<RolloverPlane> {
    const oldCa = given ?? (await createClusterCa({ notBefore: new Date(Date.now() - 30 * day) }));
    const newCa = await createClusterCa({ commonName: 'kubernetes 2' });
    const plane = await startRealControlPlane({
      signingSeconds: 24 * 3_600,
      ca: oldCa,
      apiServerFlags,
    });
    const { altNames = [] } = apiServerLeaf;
    const more = address === undefined ? [] : [{ type: 'ip', value: address } as const];
    const serving = { ...apiServerLeaf, altNames: [...altNames, ...more] };
    const discovery = await DiscoveryPlane.of(plane);
    const rollover = new RolloverPlane({ discovery, oldCa, newCa, serving });
    if (address !== undefined) await rollover.serve(oldCa);
    // The test observes every step, so its own client trusts both CAs from the beginning.
    await rollover.identifyAdmin(oldCa, oldCa, newCa);
    return rollover;
  }

  get server(): string {
    return this.plane.server;
  }

  get bundle(): string {
    return bundleOf(this.oldCa, this.newCa);
  }

  /** kube-apiserver --client-ca-file */
  async acceptClientsOf(...cas: readonly ClusterCa[]): Promise<void> {
    await this.plane.replaceFiles({ 'client-ca.crt': bundleOf(...cas) });
    for (const ca of [this.oldCa, this.newCa]) {
      const probe = await ca.issue({
        commonName: 'probe',
        organizations: [],
        usage: 'client auth',
      });
      const isWanted = cas.includes(ca);
      await until(`clients of a CA that are ${isWanted ? 'accepted' : 'rejected'}`, async () => {
        return ((await this.statusFor(probe)) !== 401) === isWanted;
      });
    }
  }

  /** The status of a request with this certificate over a new connection. */
  async statusFor(pair: KeyPair): Promise<number> {
    const { server } = this;
    return statusOfNewConnection({ url: `${server}/api/v1/namespaces`, caPem: this.bundle, pair });
  }

  /** kube-apiserver --tls-cert-file. It sends the bridge if there is one. */
  async serve(ca: ClusterCa, bridge = ''): Promise<void> {
    const { certificatePem, keyPem } = await ca.issue(this.#serving);
    await this.plane.replaceFiles({
      'apiserver.key': keyPem,
      'apiserver.crt': certificatePem + bridge,
    });
    await until('the certificate of the API server', async () => this.verifies(ca.certificatePem));
  }

  /** Whether these CAs alone verify what the API server serves. */
  async verifies(caPem: string): Promise<boolean> {
    const url = `${this.server}/readyz`;
    return statusOfNewConnection({ url, caPem }).then(
      (status) => status === 200,
      () => false,
    );
  }

  /** kube-controller-manager --cluster-signing-cert-file */
  async signWith(ca: ClusterCa): Promise<void> {
    await this.replaceSigner(ca);
    const { publicKey } = new X509Certificate(ca.certificatePem);
    const nodeName = 'signer-probe';
    await using requestor = this.plane.clientAs(`system:node:${nodeName}`, [
      'system:nodes',
      'system:authenticated',
    ]);
    await until('a certificate of this CA', async () => {
      const { certificatePem } = await this.requestNodePair(requestor, nodeName);
      return new X509Certificate(certificatePem).verify(publicKey);
    });
  }

  /** As `signWith()`, and does not wait. */
  async replaceSigner({ certificatePem, keyPem }: KeyPair): Promise<void> {
    await this.plane.replaceFiles({ 'signer.key': keyPem, 'signer.crt': certificatePem });
  }

  /** Requests a client certificate for a node, and waits until it is issued. */
  async requestNodePair(requestor: ApiClient, nodeName: string): Promise<KeyPair> {
    this.#csrs += 1;
    const name = `node-csr-${this.#csrs}`;
    const { keyPem } = await submitNodeCsr(requestor, { name, nodeName, usage: 'client auth' });
    const certificate = await until('an issued certificate', async () => {
      const { admin } = this.plane;
      const csr = (await admin.must({ method: 'GET', path: csrPath(name) })) as CsrObject;
      return csr.status.certificate;
    });
    return { certificatePem: Buffer.from(certificate, 'base64').toString(), keyPem };
  }

  /** Approves a CSR as if it had been approved at this time. */
  async approveAt(name: string, time: Date): Promise<void> {
    const { admin } = this.plane;
    const csr = (await admin.must({ method: 'GET', path: csrPath(name) })) as CsrObject;
    const { status, ...others } = withCondition(csr, 'Approved', 'ByTest');
    const lastUpdateTime = time.toISOString().replace(/\.\d+/, '');
    const conditions = status.conditions?.map((condition) => ({ ...condition, lastUpdateTime }));
    const body = { ...others, status: { ...status, conditions } };
    await admin.must({ method: 'PUT', path: `${csrPath(name)}/approval`, body });
  }

  /** kube-controller-manager --root-ca-file, which it reads when it starts. */
  async publish(...cas: readonly ClusterCa[]): Promise<void> {
    await this.plane.replaceFiles({ 'ca.crt': bundleOf(...cas) });
    await this.plane.startControllers();
    await until('the published CAs', async () => {
      return (await this.publishedIn('default')) === bundleOf(...cas);
    });
  }

  /** The CAs in kube-root-ca.crt of a namespace. */
  async publishedIn(namespace: string): Promise<string | undefined> {
    const path = `/api/v1/namespaces/${namespace}/configmaps/kube-root-ca.crt`;
    const { status, body } = await this.plane.admin.request({ method: 'GET', path });
    if (status !== 200) return undefined;
    return (body as { readonly data: Readonly<Record<string, string>> }).data['ca.crt'];
  }

  /** The bundles of the signer of the API server's certificate, which kube-controller-manager publishes. */
  async trustBundles(): Promise<readonly string[]> {
    const signer = encodeURIComponent('spec.signerName=kubernetes.io/kube-apiserver-serving');
    const path = `/apis/certificates.k8s.io/v1/clustertrustbundles?fieldSelector=${signer}`;
    const { items } = (await this.plane.admin.must({ method: 'GET', path })) as {
      readonly items: readonly { readonly spec: { readonly trustBundle: string } }[];
    };
    return items.map(({ spec }) => spec.trustBundle);
  }

  /** The CAs in cluster-info. */
  async announce(...cas: readonly ClusterCa[]): Promise<void> {
    await this.discovery.publish({ server: this.server, caPem: bundleOf(...cas) });
  }

  /** The client certificate of kube-controller-manager, and the CAs that it trusts. */
  async identifyControllers(ca: ClusterCa, ...trusted: readonly ClusterCa[]): Promise<void> {
    await this.writeControllerIdentity(ca, ...trusted);
    await this.plane.startControllers();
  }

  /** The client certificate of the administrator, and the CAs that he trusts. */
  async identifyAdmin(ca: ClusterCa, ...trusted: readonly ClusterCa[]): Promise<void> {
    this.#admin = await ca.issue(adminLeaf);
    await this.plane.setAdmin(this.#admin, bundleOf(...trusted));
  }

  /** A request of the administrator. */
  adminRequest(path: string): SingleRequest {
    return {
      url: `${this.server}${path}`,
      caPem: this.bundle,
      ...(this.#admin && { pair: this.#admin }),
    };
  }

  /** kube-apiserver --kubelet-client-certificate */
  async contactKubeletsWith(ca: ClusterCa): Promise<void> {
    const { certificatePem, keyPem } = await ca.issue(kubeletClientLeaf);
    await this.plane.replaceFiles({
      'apiserver-kubelet-client.key': keyPem,
      'apiserver-kubelet-client.crt': certificatePem,
    });
  }

  /** kube-apiserver --kubelet-certificate-authority, which it reads again every five minutes. */
  async acceptKubeletsOf(...cas: readonly ClusterCa[]): Promise<void> {
    await this.plane.replaceFiles({ 'kubelet-ca.crt': bundleOf(...cas) });
  }

  /**
   * The words of the command in a remedy, completed by an administrator who has a token and the hash
   * of the new CA. The node that printed it knows the old CA.
   */
  discoverCommand(remedy: string, tokenFile: string): readonly string[] {
    const [command = ''] = /nodecertd discover .*$/.exec(remedy) ?? [];
    const known = pinOf(this.oldCa.certificatePem);
    assert.ok(command.includes(`--ca-cert-hash ${known} sha256:HEX`), remedy);
    const added = pinOf(this.newCa.certificatePem);
    return command.replace('FILE', tokenFile).replace('sha256:HEX', added).split(' ');
  }

  async requests(): Promise<readonly AuditedRequest[]> {
    return this.plane.requests();
  }

  /** Every component and every published object gets both CAs. The new CA issues nothing. */
  async trustBoth(): Promise<void> {
    const both = [this.oldCa, this.newCa];
    await this.acceptClientsOf(...both);
    await this.acceptKubeletsOf(...both);
    await this.writeControllerIdentity(this.oldCa, ...both);
    await this.publish(...both);
    await this.announce(...both);
  }

  /** The new CA issued every certificate of the control plane, and issues all from now on. */
  async switchToNew(): Promise<void> {
    const both = [this.oldCa, this.newCa];
    await this.contactKubeletsWith(this.newCa);
    await this.serve(this.newCa, await this.oldCa.bridgeTo(this.newCa));
    await this.signWith(this.newCa);
    await this.identifyControllers(this.newCa, ...both);
    await this.identifyAdmin(this.newCa, ...both);
  }

  /** Nothing trusts the old CA any more. */
  async dropOld(): Promise<void> {
    await this.acceptClientsOf(this.newCa);
    await this.acceptKubeletsOf(this.newCa);
    await this.writeControllerIdentity(this.newCa, this.newCa);
    await this.publish(this.newCa);
    await this.announce(this.newCa);
    await this.serve(this.newCa);
    const path = '/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication';
    await this.plane.admin.must({ method: 'DELETE', path });
  }

  /** As `identifyControllers()`, and does not restart kube-controller-manager. */
  async writeControllerIdentity(ca: ClusterCa, ...trusted: readonly ClusterCa[]): Promise<void> {
    const user = keyPairUser(await ca.issue(controllerManagerLeaf));
    const { server } = this;
    const text = kubeconfig({ server, caPem: bundleOf(...trusted), user });
    await this.plane.replaceFiles({ 'controller-manager.conf': text });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.discovery[Symbol.asyncDispose]();
  }
}

interface PlaneParts {
  readonly discovery: DiscoveryPlane;
  readonly oldCa: ClusterCa;
  readonly newCa: ClusterCa;
  readonly serving: LeafRequest;
}

export function bundleOf(...cas: readonly ClusterCa[]): string {
  return cas.map(({ certificatePem }) => certificatePem).join('');
}

/** The fingerprint of a certificate, as in reports and messages. */
export function shortFingerprintOf({ certificatePem }: Pick<KeyPair, 'certificatePem'>): string {
  return shortFingerprint(fingerprintOf(new X509Certificate(certificatePem)));
}
