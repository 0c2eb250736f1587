import type { PairFacts } from '../core/certificate.ts';
import type { AgentConfig } from '../core/config.ts';
import type { EnrollerReport, Finding } from '../core/enroller-protocol.ts';
import type { Failure } from '../core/errors.ts';
import { hasCode, toFailure } from '../core/errors.ts';
import type { ClusterEndpoint } from '../kube/cluster-access.ts';
import { loadKubeconfig } from '../kube/kubeconfig.ts';
import { removeInterruptedWrites } from '../store/bootstrap-kubeconfig.ts';
import { NodeKubeconfig } from '../store/node-kubeconfig.ts';
import { removableFiles, removeUsedFile } from '../store/used-file.ts';
import type { Clock } from '../sys/clock.ts';

/**
 * Keeps the kubeconfig usable for the kubelet: writes the file after a bootstrap, rewrites a
 * missing or corrupt file, and reports repairs and failures. Also removes the files of the
 * bootstrap that the kubeconfig replaces.
 */
export class KubeconfigMaintainer {
  readonly #file: NodeKubeconfig;
  readonly #config: AgentConfig;
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
    this.#config = config;
    this.#clock = clock;
    this.#report = report;
  }

  /** Call this before a bootstrap in a cluster that no file of the node names. */
  async prepare(cluster: ClusterEndpoint): Promise<void> {
    await this.#file.prepare(cluster);
  }

  /** @throws AgentError KUBECONFIG_INVALID if another kind of file is at the path; STORE_* */
  async write(cluster: ClusterEndpoint): Promise<void> {
    const findings = await this.#file.write(cluster);
    this.#send(findings, undefined);
  }

  /** Like `write`, but only reports a failure: the agent itself can go on without the file. */
  async keep(cluster: ClusterEndpoint): Promise<void> {
    await this.write(cluster).catch((error: unknown) => this.#send([], toFailure(error)));
  }

  /**
   * Without a kubeconfig the kubelet cannot use the certificate. The file is missing if the agent
   * was killed, or the disk was full, between storing the first certificate and writing the
   * kubeconfig, and a hard reset can corrupt it later. Never throws, because nodecertd can rotate
   * the certificate without a kubeconfig.
   */
  async check(pair: PairFacts | undefined, signal: AbortSignal): Promise<void> {
    const usable = pair !== undefined && !pair.selfSigned && this.#clock.now() < pair.notAfter;
    const strays = await this.#removeStrays();
    try {
      const findings = usable
        ? await this.#file.recover(() => this.#bootstrapCluster(), signal)
        : [];
      const failure = await this.#failure({ usable });
      const removed = usable && failure === undefined ? await this.#removeUsed(pair) : [];
      this.#send([...strays, ...findings, ...removed], failure);
    } catch (error) {
      this.#send(strays, toFailure(error));
    }
  }

  async #removeStrays(): Promise<Finding[]> {
    const { bootstrapKubeconfig: path } = this.#config;
    return path === undefined ? [] : removeInterruptedWrites(path, this.#clock.now());
  }

  /**
   * With `bootstrap.deleteAfterUse`, removes the files of the bootstrap once the node does not need
   * them anymore: the certificate is stored, and the kubeconfig names it. A client certificate of a
   * bootstrap is stored only after the API server has accepted it.
   */
  async #removeUsed({ notBefore, storedAt }: PairFacts): Promise<Finding[]> {
    const files = removableFiles(this.#config);
    if (files.length === 0 || notBefore > this.#clock.now()) return [];
    const kubeconfig = await this.#file.inspect();
    if (kubeconfig.kind !== 'own' || !kubeconfig.namesPair) return [];
    const findings: Finding[] = [];
    for (const path of files) findings.push(...(await removeUsedFile(path, storedAt)));
    return findings;
  }

  #send(findings: readonly Finding[], failure: Failure | undefined): void {
    const { path } = this.#file;
    this.#report({ type: 'kubeconfig', path, findings, ...(failure !== undefined && { failure }) });
  }

  /** Before the first certificate, a missing or corrupt kubeconfig, or one that names a missing file, is no failure. */
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
    const { bootstrapKubeconfig } = this.#config;
    if (bootstrapKubeconfig === undefined) return undefined;
    const access = await loadKubeconfig(bootstrapKubeconfig).catch(() => undefined);
    access?.[Symbol.dispose]();
    return access?.cluster;
  }
}
