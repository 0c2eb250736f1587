import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { appendFile, readFile, rename, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { NodeAddress } from '../../src/core/enroller-protocol.ts';
import { ApiClient } from './api-client.ts';
import { readAuditLog } from './audit-log.ts';
import type { TimedRequest } from './audit-log.ts';
import { Child } from './child.ts';
import type { ClusterCa, KeyPair } from './cluster-pki.ts';
import type { ControlPlane, ControlPlaneOptions, ObservedCsr } from './control-plane.ts';
import { allowBootstrap, bindRenewal, bootstrapToken, unbindRenewal } from './real-bootstrap.ts';
import { scaled } from './machine-speed.ts';
import {
  apiServerArgs,
  controllerManagerArgs,
  createClusterFiles,
  etcdArgs,
  keyPairUser,
  kubeconfig,
} from './real-components.ts';
import type { ClusterFiles } from './real-components.ts';
import { csrPath, observe, withCondition } from './real-csr.ts';
import type { CsrObject } from './real-csr.ts';
import { controlPlaneDirectory, isExecutable, skip } from './programs.ts';

/** The folder of the binaries, or undefined if `make control-plane` has not built them. */
export function realControlPlaneAvailable(): string | undefined {
  const directory = controlPlaneDirectory();
  const programs = ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kubectl'];
  return programs.every((name) => isExecutable(join(directory, name))) ? directory : undefined;
}

/**
 * For the `skip` option of a test: false if the real control plane is built, otherwise
 * the reason.
 * @throws in CI, where no test may be skipped
 */
export function skipWithoutRealControlPlane(): string | false {
  if (realControlPlaneAvailable() !== undefined) return false;
  return skip('tests on a real control plane: not built (make control-plane)');
}

export interface RealControlPlaneOptions extends ControlPlaneOptions {
  /** Further flags of kube-apiserver. */
  readonly apiServerFlags?: readonly string[];
  /** The first CA of the cluster; otherwise a new one. */
  readonly ca?: ClusterCa;
}

/**
 * Starts etcd, kube-apiserver and kube-controller-manager on loopback, and waits until
 * they are ready.
 */
export async function startRealControlPlane(
  options: RealControlPlaneOptions,
): Promise<RealControlPlane> {
  const binaries = realControlPlaneAvailable();
  if (binaries === undefined) {
    throw new Error('the real control plane is not built: run make control-plane');
  }
  const directory = mkdtempSync(join(tmpdir(), 'nodecertd-control-plane-'));
  const plane = new RealControlPlane(
    binaries,
    await createClusterFiles(directory, options.ca),
    options,
  );
  try {
    await plane.start();
    return plane;
  } catch (error) {
    await plane[Symbol.asyncDispose]();
    throw error;
  }
}

export class RealControlPlane implements ControlPlane {
  readonly kind = 'real';
  readonly #binaries: string;
  #files: ClusterFiles;
  /** The CAs with which the administrator verifies the API server. */
  #trusted: string;
  readonly #apiServerFlags: readonly string[];
  #signingSeconds: number;
  #approving = true;
  #etcd: Child | undefined;
  #apiServer: Child | undefined;
  #controllers: Child | undefined;
  /** One audit log for each run of the API server. */
  readonly #auditLogs: string[] = [];
  #admin: ApiClient;

  readonly #removeFiles = (): void => {
    rmSync(this.#files.directory, { recursive: true, force: true });
  };

  constructor(binaries: string, files: ClusterFiles, options: RealControlPlaneOptions) {
    this.#binaries = binaries;
    this.#files = files;
    this.#trusted = files.caPem;
    this.#signingSeconds = options.signingSeconds;
    this.#apiServerFlags = options.apiServerFlags ?? [];
    this.#admin = this.#adminClient();
  }

  get server(): string {
    return this.#files.server;
  }

  /** The first CA of the cluster. */
  get caPem(): string {
    return this.#files.caPem;
  }

  /** The files of the components. */
  get directory(): string {
    return this.#files.directory;
  }

  /** The administrator's client. `startApi()` and `setAdmin()` replace it. */
  get admin(): ApiClient {
    return this.#admin;
  }

  async start(): Promise<void> {
    process.once('exit', this.#removeFiles);
    this.#etcd = this.#run('etcd', etcdArgs(this.#files));
    await this.startApi();
    await allowBootstrap(this.#admin, {
      server: this.server,
      caPem: this.caPem,
      signal: AbortSignal.timeout(readyTimeoutMs),
    });
  }

  async bootstrapKubeconfig(): Promise<string> {
    const { server, caPem } = this;
    return kubeconfig({ server, caPem, user: { token: bootstrapToken } });
  }

  async adminKubeconfig(): Promise<string> {
    return readFile(join(this.#files.directory, 'admin.conf'), 'utf8');
  }

  async setNodeAddresses(nodeName: string, addresses: readonly NodeAddress[]): Promise<void> {
    const path = '/api/v1/nodes';
    const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: nodeName } };
    const created = await this.#admin.request({ method: 'POST', path, body: node });
    if (created.status !== 201 && created.status !== 409) {
      throw new Error(`node ${nodeName} was not created: ${JSON.stringify(created.body)}`);
    }
    await this.#admin.must({
      method: 'PATCH',
      path: `${path}/${nodeName}/status`,
      body: { status: { addresses } },
    });
  }

  async csrs(): Promise<readonly ObservedCsr[]> {
    const list = (await this.#admin.must({ method: 'GET', path: csrPath() })) as {
      readonly items: readonly CsrObject[];
    };
    return list.items.map(observe);
  }

  async approve(csrName: string): Promise<void> {
    await this.kubectl('certificate', 'approve', csrName);
  }

  /** kubectl always gives the reason KubectlDeny. */
  async deny(csrName: string, _reason: string): Promise<void> {
    await this.kubectl('certificate', 'deny', csrName);
  }

  async fail(csrName: string, reason: string): Promise<void> {
    const csr = (await this.#admin.must({ method: 'GET', path: csrPath(csrName) })) as CsrObject;
    await this.#admin.must({
      method: 'PUT',
      path: `${csrPath(csrName)}/status`,
      body: withCondition(csr, 'Failed', reason),
    });
  }

  async deleteCsr(csrName: string): Promise<void> {
    await this.#admin.must({ method: 'DELETE', path: csrPath(csrName) });
  }

  /**
   * Restarts kube-controller-manager with or without the approver, which is one of its
   * controllers.
   */
  async setApproving(approving: boolean): Promise<void> {
    if (approving === this.#approving) return;
    this.#approving = approving;
    await this.startControllers();
  }

  async setRenewing(renewing: boolean): Promise<void> {
    if (renewing) await bindRenewal(this.#admin);
    else await unbindRenewal(this.#admin);
  }

  /** Sets the lifetime of certificates that are issued from now on. */
  async setSigningSeconds(seconds: number): Promise<void> {
    this.#signingSeconds = seconds;
    await this.startControllers();
  }

  /** Replaces files of the components, in this order, each with a rename. */
  async replaceFiles(files: Readonly<Record<string, string>>): Promise<void> {
    for (const [name, text] of Object.entries(files)) {
      const path = join(this.directory, name);
      await writeFile(`${path}.new`, text, { mode: 0o600 });
      await rename(`${path}.new`, path);
    }
  }

  /** The administrator gets another certificate, and verifies the API server with these CAs. */
  async setAdmin(admin: KeyPair, caPem: string): Promise<void> {
    this.#files = { ...this.#files, admin };
    this.#trusted = caPem;
    const user = keyPairUser(admin);
    await this.replaceFiles({ 'admin.conf': kubeconfig({ server: this.server, caPem, user }) });
    await this.#admin[Symbol.asyncDispose]();
    this.#admin = this.#adminClient();
  }

  /** Signs with another CA from now on, as during a CA rollover. */
  async signWith({ certificatePem, keyPem }: KeyPair): Promise<void> {
    await this.replaceFiles({ 'signer.key': keyPem, 'signer.crt': certificatePem });
    await this.startControllers();
  }

  /** Restarts the API server with one CA more in --client-ca-file. */
  async trustClientsOf({ certificatePem }: KeyPair): Promise<void> {
    await appendFile(join(this.#files.directory, 'client-ca.crt'), certificatePem);
    await this.stopApi();
    await this.startApi();
  }

  /** From now on, nothing is signed, and nothing is deleted because of its age. */
  async stopControllers(): Promise<void> {
    await this.#controllers?.stop(0);
  }

  /** Starts kube-controller-manager, or restarts it with its present settings. */
  async startControllers(): Promise<void> {
    await this.#controllers?.stop(0);
    this.#controllers = this.#run(
      'kube-controller-manager',
      controllerManagerArgs(this.#files, {
        signingSeconds: this.#signingSeconds,
        approving: this.#approving,
      }),
    );
  }

  async stopApi(): Promise<void> {
    await this.#controllers?.stop(0);
    await this.#apiServer?.stop();
  }

  async startApi(): Promise<void> {
    await this.#admin[Symbol.asyncDispose]();
    this.#admin = this.#adminClient();
    const auditLog = join(this.#files.directory, `audit-${this.#auditLogs.length + 1}.log`);
    this.#auditLogs.push(auditLog);
    const args = [...apiServerArgs(this.#files, auditLog), ...this.#apiServerFlags];
    this.#apiServer = this.#run('kube-apiserver', args);
    await this.startControllers();
    await this.#ready();
  }

  async requests(): Promise<readonly TimedRequest[]> {
    const last = this.#auditLogs.length - 1;
    const logs = this.#auditLogs.map(async (file, index) =>
      readAuditLog(file, index === last && this.#apiServer?.running === true ? 'open' : 'closed'),
    );
    return (await Promise.all(logs)).flat();
  }

  /** A client of the administrator that acts as another user. */
  clientAs(user: string, groups: readonly string[]): ApiClient {
    const { server } = this;
    const caPem = this.#trusted;
    const impersonate = { user, groups };
    return new ApiClient({ server, caPem, ...this.#files.admin, impersonate });
  }

  async kubectl(...args: readonly string[]): Promise<string> {
    const { directory } = this.#files;
    const { stdout } = await promisify(execFile)(join(this.#binaries, 'kubectl'), [
      `--kubeconfig=${join(directory, 'admin.conf')}`,
      `--cache-dir=${join(directory, 'kubectl-cache')}`,
      ...args,
    ]);
    return stdout;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#admin[Symbol.asyncDispose]();
    await Promise.all([this.#controllers?.stop(0), this.#apiServer?.stop(0), this.#etcd?.stop(0)]);
    process.removeListener('exit', this.#removeFiles);
    this.#removeFiles();
  }

  /** /readyz includes the hook that creates the bootstrap roles. */
  async #ready(): Promise<void> {
    const limit = new AbortController();
    const timer = setTimeout(() => {
      limit.abort();
    }, readyTimeoutMs);
    const watcher = setInterval(() => {
      if (this.#dead() !== undefined) limit.abort();
    }, 100);
    try {
      await this.#admin.eventually({ method: 'GET', path: '/readyz' }, limit.signal);
    } catch (error) {
      const dead = this.#dead();
      throw dead?.failure('ended') ?? this.#apiServer?.failure('is not ready') ?? error;
    } finally {
      clearTimeout(timer);
      clearInterval(watcher);
    }
  }

  #dead(): Child | undefined {
    return [this.#etcd, this.#apiServer, this.#controllers].find(
      (child) => child?.running === false,
    );
  }

  #run(name: string, args: readonly string[]): Child {
    return new Child({
      name,
      command: join(this.#binaries, name),
      args,
      logFile: join(this.#files.directory, `${name}.log`),
    });
  }

  #adminClient(): ApiClient {
    return new ApiClient({ server: this.server, caPem: this.#trusted, ...this.#files.admin });
  }
}

const readyTimeoutMs = scaled(60_000);
