import { kubeletClientSigner, kubeletServingSigner } from '../core/certificate-spec.ts';
import { second } from '../core/instant.ts';
import type { AgentStatus } from '../core/status.ts';
import { ageBuckets } from './buckets.ts';
import { Counter, Gauge, Histogram, Registry } from './prom-client.ts';

/**
 * The five metrics of the kubelet's own certificate manager, so that alerts written for
 * the kubelet (kubernetes-mixin) keep working after adoption. Off by default, because a
 * kubelet on the same node may still export them.
 *
 * One difference: an expired certificate has a negative time to live, as the kubelet's
 * help text promises. The kubelet itself exports +Inf, which no alert catches.
 */
export class KubeletMetrics {
  readonly #registry = new Registry();
  readonly #clientTtl: Gauge;
  readonly #serverTtl: Gauge;
  readonly #clientErrors: Counter;
  readonly #serverErrors: Counter;
  readonly #serverRotation: Histogram;

  constructor() {
    const registers = [this.#registry];
    this.#clientTtl = new Gauge({
      name: 'kubelet_certificate_manager_client_ttl_seconds',
      help: ttlHelp('client'),
      registers,
    });
    this.#serverTtl = new Gauge({
      name: 'kubelet_certificate_manager_server_ttl_seconds',
      help: ttlHelp('serving'),
      registers,
    });
    this.#clientErrors = new Counter({
      name: 'kubelet_certificate_manager_client_expiration_renew_errors',
      help: 'Counter of certificate renewal errors.',
      registers,
    });
    this.#serverErrors = new Counter({
      name: 'kubelet_server_expiration_renew_errors',
      help: 'Counter of certificate renewal errors.',
      registers,
    });
    this.#serverRotation = new Histogram({
      name: 'kubelet_certificate_manager_server_rotation_seconds',
      help: 'Histogram of the number of seconds the previous certificate lived before being rotated.',
      buckets: ageBuckets,
      registers,
    });
  }

  /** The text exposition format. */
  async render(): Promise<string> {
    return await this.#registry.metrics();
  }

  refresh(status: AgentStatus): void {
    this.#clientTtl.set(timeToLive(status, kubeletClientSigner));
    this.#serverTtl.set(timeToLive(status, kubeletServingSigner));
  }

  recordFailure(signerName: string | undefined): void {
    if (signerName === kubeletClientSigner) this.#clientErrors.inc();
    if (signerName === kubeletServingSigner) this.#serverErrors.inc();
  }

  recordStored(signerName: string | undefined, ageOfReplaced: number): void {
    if (signerName === kubeletServingSigner) this.#serverRotation.observe(ageOfReplaced);
  }
}

function ttlHelp(kind: string): string {
  return `Gauge of the TTL (time-to-live) of the Kubelet's ${kind} certificate. The value is in seconds until certificate expiry (negative if already expired). If there is no ${kind} certificate, the value will be +INF.`;
}

/**
 * Whole seconds, rounded toward zero, of the certificate that expires first if several
 * share the signer. A temporary self-signed certificate does not count: the kubelet's
 * metric covers issued certificates only.
 */
function timeToLive(status: AgentStatus, signerName: string): number {
  const ends = status.certificates
    .filter((certificate) => certificate.signerName === signerName)
    .flatMap(({ current }) =>
      current === undefined || current.selfSigned ? [] : current.notAfter,
    );
  return Math.trunc((Math.min(...ends) - status.now) / second);
}
