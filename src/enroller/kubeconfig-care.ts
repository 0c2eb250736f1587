import type { PairFacts } from '../core/certificate.ts';
import type { AgentConfig } from '../core/config.ts';
import type { EnrollerReport, Finding } from '../core/enroller-protocol.ts';
import type { Failure } from '../core/errors.ts';
import { hasCode, toFailure } from '../core/errors.ts';
import type { ClusterEndpoint } from '../kube/cluster-access.ts';
import { loadKubeconfig } from '../kube/kubeconfig.ts';
import { NodeKubeconfig } from '../store/node-kubeconfig.ts';
import type { Clock } from '../sys/clock.ts';

/**
 * Keeps the kubeconfig usable for the kubelet: writes it after a bootstrap, writes it again if
 * it is missing or corrupt, and reports what it did and what is wrong.
 */
export class KubeconfigCare {
  readonly #file: NodeKubeconfig;
  readonly #bootstrap: string | undefined;
  readonly #clock: Clock;
  readonly #report: (report: EnrollerReport) => void;

  constructor(options: {
    readonly config: AgentConfig;
    /** The `-current.pem` link of the client certificate. */
    readonly clientPair: string;
    readonly clock: Clock;
    readonly report: (report: EnrollerReport) => void;
  }) {
    const { config, clientPair: certificatePath, clock, report } = options;
    this.#file = new NodeKubeconfig({ config, certificatePath, clock });
    this.#bootstrap = config.bootstrapKubeconfig;
    this.#clock = clock;
    this.#report = report;
  }

  /** @throws AgentError KUBECONFIG_INVALID if another kind of file is at the path; STORE_* */
  async write(cluster: ClusterEndpoint): Promise<void> {
    const findings = await this.#file.write(cluster);
    this.#tell(findings, undefined);
  }

  /**
   * Without a kubeconfig the kubelet cannot use the certificate. It is missing if the agent
   * was killed, or the disk was full, between storing the first certificate and writing the
   * kubeconfig, and a hard reset can corrupt it later. Never fails, because the certificate is
   * rotated all the same.
   */
  async check(pair: PairFacts | undefined): Promise<void> {
    const usable = pair !== undefined && !pair.selfSigned && this.#clock.now() < pair.notAfter;
    try {
      const findings = usable ? await this.#file.recover(await this.#bootstrapCluster()) : [];
      this.#tell(findings, await this.#failure({ usable }));
    } catch (error) {
      this.#tell([], toFailure(error));
    }
  }

  #tell(findings: readonly Finding[], failure: Failure | undefined): void {
    const { path } = this.#file;
    this.#report({ type: 'kubeconfig', path, findings, ...(failure !== undefined && { failure }) });
  }

  /**
   * Before the first certificate, the kubeconfig may be missing, corrupt, or name a missing
   * file.
   */
  async #failure({ usable }: { readonly usable: boolean }): Promise<Failure | undefined> {
    try {
      (await loadKubeconfig(this.#file.path))[Symbol.dispose]();
      return undefined;
    } catch (error) {
      if (hasCode(error, 'KUBECONFIG_UNSUPPORTED')) return toFailure(error);
      const cluster = await this.#bootstrapCluster();
      await this.#file.requireReplaceable(cluster === undefined ? [] : [cluster]);
      return usable ? toFailure(error) : undefined;
    }
  }

  async #bootstrapCluster(): Promise<ClusterEndpoint | undefined> {
    if (this.#bootstrap === undefined) return undefined;
    const access = await loadKubeconfig(this.#bootstrap).catch(() => undefined);
    access?.[Symbol.dispose]();
    return access?.cluster;
  }
}
