import {
  controlPlaneAnnotationKey,
  formatControlPlaneAnnotation,
} from '../../src/core/control-plane-annotation.ts';
import { day, hour } from '../../src/core/instant.ts';
import type { TrustAnnotation } from '../../src/core/trust-annotation.ts';
import { formatTrustAnnotation, trustAnnotationKey } from '../../src/core/trust-annotation.ts';
import { systemClock } from '../../src/sys/clock.ts';
import type { KeyPair } from './cluster-pki.ts';
import { controlPlaneNode, readiness } from './control-plane-objects.ts';
import type { RolloverPlane } from './rollover-plane.ts';
import { shortFingerprintOf } from './rollover-plane.ts';
import { report } from './rollover-state.ts';

/** Objects of a real cluster that a CA rollover has to look at. */
export class RolloverObjects {
  readonly #rollover: RolloverPlane;

  constructor(rollover: RolloverPlane) {
    this.#rollover = rollover;
  }

  async create(path: string, body: object): Promise<void> {
    await this.#rollover.plane.admin.must({ method: 'POST', path, body });
  }

  /** One that trusts both CAs, one without agent, one that is offline, and one whose report is 3 days old. */
  async createNodes(): Promise<void> {
    const { oldCa, newCa } = this.#rollover;
    const [old, next] = [oldCa, newCa].map(shortFingerprintOf);
    const both = { kubeconfig: [old ?? '', next ?? ''], clientCa: [old ?? '', next ?? ''] };
    const leaf = { 'kubelet-client': old ?? '' };
    const reportedAt = systemClock.now();
    await this.create('/api/v1/nodes', {
      metadata: {
        name: 'node-1',
        annotations: annotated({ places: both, leaf, reportedAt }),
      },
      spec: { unschedulable: true },
      status: {
        ...readiness('True'),
        addresses: [
          { type: 'Hostname', address: 'node-1' },
          { type: 'ExternalIP', address: '192.0.2.1' },
          { type: 'InternalIP', address: 'fd00::1' },
        ],
        daemonEndpoints: { kubeletEndpoint: { Port: 10_260 } },
      },
    });
    const places = { kubeconfig: [old ?? ''], clientCa: [old ?? ''] };
    await this.#createNode('node-2', 'True');
    await this.#createNode('node-3', 'Unknown', { places, leaf, reportedAt });
    await this.#createNode('node-4', 'True', {
      places: both,
      leaf,
      reportedAt: reportedAt - 3 * day,
    });
  }

  /** A control-plane Node. Nothing listens on its address. */
  async createControlPlane(name: string): Promise<void> {
    await this.create('/api/v1/nodes', controlPlaneNode(name, '127.0.0.2'));
  }

  /** As the agent of a control-plane node does, whose files have both CAs. */
  async reportControlPlane(
    name: string,
    { signer, leaf }: { readonly signer: KeyPair; readonly leaf: KeyPair },
  ): Promise<void> {
    const { oldCa, newCa, plane } = this.#rollover;
    const authorities = [oldCa, newCa].map(shortFingerprintOf);
    const issued = { issuer: shortFingerprintOf(leaf), fingerprint: '0'.repeat(16) };
    const text = formatControlPlaneAnnotation({
      authorities,
      signer: shortFingerprintOf(signer),
      leaves: { 'controller-manager.conf': issued },
      startedAt: {},
      reportedAt: systemClock.now(),
    });
    const body = { metadata: { annotations: { [controlPlaneAnnotationKey]: text } } };
    await plane.admin.must({ method: 'PATCH', path: `/api/v1/nodes/${name}`, body });
  }

  async #createNode(
    name: string,
    ready: 'True' | 'Unknown',
    annotation?: Partial<TrustAnnotation>,
  ): Promise<void> {
    await this.create('/api/v1/nodes', {
      metadata: { name, ...(annotation && { annotations: annotated(annotation) }) },
      status: { ...readiness(ready), addresses: [{ type: 'InternalIP', address: '10.0.0.2' }] },
    });
  }

  /** Of each kind, one that has the old CA alone. */
  async createHolders(): Promise<void> {
    const caBundle = Buffer.from(this.#rollover.oldCa.certificatePem).toString('base64');
    const clientConfig = { caBundle, url: 'https://127.0.0.1:9/' };
    const webhook = {
      name: 'pods.example.com',
      clientConfig,
      sideEffects: 'None',
      admissionReviewVersions: ['v1'],
      failurePolicy: 'Ignore',
    };
    const admission = '/apis/admissionregistration.k8s.io/v1';
    const body = { metadata: { name: 'example' }, webhooks: [webhook] };
    await this.create(`${admission}/validatingwebhookconfigurations`, body);
    await this.create(`${admission}/mutatingwebhookconfigurations`, body);
    await this.create('/apis/apiregistration.k8s.io/v1/apiservices', {
      metadata: { name: 'v1.metrics.example.com' },
      spec: {
        group: 'metrics.example.com',
        version: 'v1',
        groupPriorityMinimum: 1_000,
        versionPriority: 1,
        service: { namespace: 'default', name: 'metrics' },
        caBundle,
      },
    });
    await this.create('/apis/apiextensions.k8s.io/v1/customresourcedefinitions', {
      metadata: { name: 'things.example.com' },
      spec: {
        group: 'example.com',
        scope: 'Cluster',
        names: { plural: 'things', kind: 'Thing' },
        versions: [
          {
            name: 'v1',
            served: true,
            storage: true,
            schema: { openAPIV3Schema: { type: 'object' } },
          },
        ],
        conversion: {
          strategy: 'Webhook',
          webhook: { clientConfig, conversionReviewVersions: ['v1'] },
        },
      },
    });
    await this.create('/api/v1/namespaces/default/secrets', {
      metadata: { name: 'robot', annotations: { 'kubernetes.io/service-account.name': 'default' } },
      type: 'kubernetes.io/service-account-token',
      data: { 'ca.crt': caBundle },
    });
  }

  /** A pod that has been running for an hour, with the volume that every pod gets. */
  async createPod(): Promise<void> {
    await this.create('/api/v1/namespaces/default/serviceaccounts', {
      metadata: { name: 'default' },
    });
    const pods = '/api/v1/namespaces/default/pods';
    await this.create(pods, {
      metadata: { name: 'web-1' },
      spec: { nodeName: 'node-1', containers: [{ name: 'web', image: 'web' }] },
    });
    const startedAt = new Date(systemClock.now() - hour).toISOString().replace(/\.\d+/, '');
    const status = {
      phase: 'Running',
      containerStatuses: [
        {
          name: 'web',
          image: 'web',
          imageID: '',
          ready: true,
          restartCount: 0,
          state: { running: { startedAt } },
        },
      ],
    };
    await this.#rollover.plane.admin.must({
      method: 'PATCH',
      path: `${pods}/web-1/status`,
      body: { status },
    });
  }
}

function annotated(changes: Partial<TrustAnnotation>): Record<string, string> {
  return { [trustAnnotationKey]: formatTrustAnnotation(report(changes)) };
}
