import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parse, stringify } from 'yaml';
import { describeError } from '../../src/core/errors.ts';
import { hour } from '../../src/core/instant.ts';
import type { TrustStage } from '../../src/core/trust.ts';
import { fingerprintOf, parsePair } from '../support/agent.ts';
import type { ClusterCa, KeyPair } from '../support/cluster-pki.ts';
import { builtPackage } from '../support/built-packages.ts';
import { bootKubeletNode, untilReady } from '../support/kubelet-node.ts';
import type { Container, Ended } from '../support/nspawn.ts';
import { kubeconfig } from '../support/real-components.ts';
import type { RealControlPlane } from '../support/real-control-plane.ts';
import type { SingleRequest } from '../support/single-request.ts';
import { until } from '../support/until.ts';
import type { Credentials, Kubeconfig, ReadInside } from './credentials.ts';
import { filesBelow, readCredentials } from './credentials.ts';

export interface NodeOptions {
  readonly name: string;
  readonly address: string;
  readonly plane: RealControlPlane;
  /** The CA that has issued its certificates. */
  readonly ca: ClusterCa;
  /** How the kubelet's kubeconfig has the CA: kubeadm embeds it. */
  readonly authority: 'file' | 'embedded';
  /** The lifetime of its first certificates, from now on. Otherwise they are two hours old. */
  readonly lifetimeMs?: number;
  /** Overrides keys of `trust` in the configuration of the agent. */
  readonly trust?: Readonly<Record<string, unknown>>;
}

export const bootstrapFile = '/etc/kubernetes/bootstrap-kubelet.conf';
export const kubeconfigFile = '/etc/kubernetes/kubelet.conf';
export const caFile = '/etc/kubernetes/pki/ca.crt';

/** In seconds. The keeper checks the trust twice after its start, and looks for work every minute. */
const patience = 150;

const pki = '/var/lib/kubelet/pki';
const kubelet = 'kubelet.service';
const agent = 'nodecertd.service';

export const leafNames = ['kubelet-client', 'kubelet-server'] as const;
type LeafName = (typeof leafNames)[number];

function current(name: LeafName): string {
  return join(pki, `${name}-current.pem`);
}

/** A node with a real kubelet that has joined, and with the package. Its agent is not started. */
export class RolloverNode implements AsyncDisposable {
  readonly name: string;
  readonly address: string;
  readonly container: Container;
  readonly read: ReadInside;
  readonly #options: NodeOptions;

  private constructor(options: NodeOptions, container: Container) {
    this.name = options.name;
    this.address = options.address;
    this.#options = options;
    this.container = container;
    this.read = filesBelow(() => container.path('/'));
  }

  static async boot(options: NodeOptions): Promise<RolloverNode> {
    const { name, address, plane } = options;
    const container = await bootKubeletNode({
      nodeName: name,
      port: 10_250,
      controlPlane: plane,
      configuration: { address },
      flags: `--node-ip=${address}`,
    });
    const node = new RolloverNode(options, container);
    try {
      await node.#join(options);
      await node.#install(options);
      await container.must('systemctl', 'enable', '--now', kubelet);
      await untilReady(container, { nodeName: name, controlPlane: plane });
      return node;
    } catch (error) {
      await node[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Takes over the certificates of the kubelet. */
  async adopt(): Promise<void> {
    await this.startAgent();
    await this.container.must('nodecertd', 'adopt', '--yes', '--restart');
  }

  async startAgent(): Promise<void> {
    await this.container.must('systemctl', 'enable', '--now', agent);
  }

  async restartAgent(): Promise<void> {
    await this.container.must('systemctl', 'restart', agent);
  }

  async stopAgent(): Promise<void> {
    await this.container.must('systemctl', 'stop', agent);
  }

  async nodecertd(...args: readonly string[]): Promise<Ended> {
    return this.container.run('nodecertd', ...args);
  }

  /**
   * The files are written when it ends. Exit code 3: the kubelet has not read them yet.
   * @returns how many milliseconds it took
   */
  async syncTrust(): Promise<number> {
    const started = performance.now();
    const { code, stdout, stderr } = await this.nodecertd('trust', 'sync');
    assert.ok(code === 0 || code === 3, `exit code ${code}: ${stdout}${stderr}`);
    return performance.now() - started;
  }

  /** As an administrator of the node, who confirms nothing but the question. */
  async dropTrust({ certificatePem }: ClusterCa, ...flags: readonly string[]): Promise<Ended> {
    const fingerprint = fingerprintOf(new X509Certificate(certificatePem));
    return this.nodecertd('trust', 'drop', fingerprint, '--yes', ...flags);
  }

  async kubeletPid(): Promise<string> {
    return this.container.property(kubelet, 'MainPID');
  }

  /** How often systemd has started it since the container booted. */
  async kubeletStarts(): Promise<number> {
    const journal = await this.container.journal(kubelet);
    return journal.split('\n').filter((line) => line.startsWith('Started kubelet')).length;
  }

  /** A request with the kubeconfig of the kubelet and the files that it names now. */
  async credentials(): Promise<SingleRequest> {
    const { server, caPem, pair } = await this.credentialsIn(kubeconfigFile);
    return { url: `${server}/api/v1/nodes/${this.name}`, caPem, pair };
  }

  async credentialsIn(kubeconfig: string): Promise<Credentials> {
    return readCredentials(kubeconfig, this.read);
  }

  /** Until the running agent has found this stage. */
  async untilStage(stage: TrustStage): Promise<void> {
    await this.until(`the stage ${stage}`, async () => {
      await delay(250);
      const { stdout } = await this.nodecertd('status', '--output', 'json');
      const { trustSync } = JSON.parse(stdout) as StatusDocument;
      return trustSync?.report?.stage === stage;
    });
  }

  /** The remedy of a finding of `nodecertd doctor`; empty without that finding. */
  async remedyOf(finding: string): Promise<string> {
    const { stdout } = await this.nodecertd('doctor', '--output', 'json');
    const { findings } = JSON.parse(stdout) as DoctorDocument;
    return findings.find(({ id }) => id === finding)?.remedy ?? '';
  }

  /** As `until()`; a failure contains the end of the agent's log. */
  async until(
    what: string,
    find: () => Promise<boolean>,
    seconds: number = patience,
  ): Promise<void> {
    try {
      await until(what, find, seconds);
    } catch (error) {
      const log = (await this.container.journal(agent)).split('\n').slice(-20).join('\n');
      throw new Error(`${describeError(error)}; the agent of ${this.name}:\n${log}`, {
        cause: error,
      });
    }
  }

  /** Removes the bootstrap kubeconfig, as kubeadm does after the join. */
  async removeBootstrap(): Promise<void> {
    await this.container.must('rm', '--force', bootstrapFile);
  }

  /** The first line with this event that the agent has logged since its start. */
  async event(name: string): Promise<LogLine> {
    const invocation = await this.container.property(agent, 'InvocationID');
    const filter = `_SYSTEMD_INVOCATION_ID=${invocation}`;
    return until(`the log event ${name}`, async () => {
      await delay(250);
      const log = await this.container.must('journalctl', '--output=cat', '--no-pager', filter);
      const line = log.split('\n').find((one) => one.includes(`"event":"${name}"`));
      return line === undefined ? undefined : (JSON.parse(line) as LogLine);
    });
  }

  /** The current certificate of a pair that the kubelet uses. */
  async leaf(name: LeafName): Promise<X509Certificate> {
    return parsePair(await this.read(current(name)));
  }

  /** Which of its leaves this CA has signed. */
  async leavesBy({ certificatePem }: ClusterCa): Promise<readonly string[]> {
    const { publicKey } = new X509Certificate(certificatePem);
    const leaves = await Promise.all(leafNames.map(async (name) => this.leaf(name)));
    return leafNames.filter((_, index) => leaves[index]?.verify(publicKey));
  }

  /** Until this CA has signed these leaves. */
  async untilLeavesBy(
    ca: ClusterCa,
    names: readonly LeafName[] = leafNames,
    seconds?: number,
  ): Promise<void> {
    const areSigned = async (): Promise<boolean> => {
      const signed = await this.leavesBy(ca);
      return names.every((name) => signed.includes(name));
    };
    await this.until(`${names.join(' and ')} from this CA`, areSigned, seconds);
  }

  /** The files of a kubelet that has joined and requested its certificates two hours ago. */
  async #join({ name, address, plane, authority, ca, lifetimeMs }: NodeOptions): Promise<void> {
    const now = Date.now();
    const lifetime =
      lifetimeMs === undefined
        ? { notBefore: new Date(now - 2 * hour) }
        : { notBefore: new Date(now), notAfter: new Date(now + lifetimeMs) };
    const identity = {
      commonName: `system:node:${name}`,
      organizations: ['system:nodes'],
      ...lifetime,
    };
    const altNames = [
      { type: 'dns', value: name },
      { type: 'ip', value: address },
    ] as const;
    await this.#writePair('kubelet-client', await ca.issue({ ...identity, usage: 'client auth' }));
    await this.#writePair(
      'kubelet-server',
      await ca.issue({ ...identity, usage: 'server auth', altNames }),
    );
    const pem = current('kubelet-client');
    const config = parse(
      kubeconfig({ server: plane.server, caPem: plane.caPem, user: {} }),
    ) as Kubeconfig;
    config.users[0].user = { 'client-certificate': pem, 'client-key': pem };
    if (authority === 'file') {
      config.clusters[0].cluster = { server: plane.server, 'certificate-authority': caFile };
    }
    await this.container.write(kubeconfigFile, stringify(config), 0o600);
  }

  async #writePair(name: LeafName, { certificatePem, keyPem }: KeyPair): Promise<void> {
    const path = join(pki, `${name}-2026-01-01-00-00-00.pem`);
    await this.container.write(path, certificatePem + keyPem, 0o600);
    await this.container.must('touch', '--date=2 hours ago', path);
    await this.container.must('ln', '-s', path, current(name));
  }

  async #install({ trust }: NodeOptions): Promise<void> {
    const { container } = this;
    await container.must('apt-get', 'install', '--yes', await container.take(builtPackage.file));
    await this.#configure(trust);
    await pretendTimeService(container);
  }

  /** Replaces the configuration of the agent, and a running agent applies it. */
  async reconfigure(trust: NodeOptions['trust']): Promise<void> {
    await this.#configure(trust);
    await this.container.must('systemctl', 'reload', agent);
  }

  async #configure(trust: NodeOptions['trust']): Promise<void> {
    const { name, address } = this.#options;
    const configuration = {
      apiVersion: 'nodecertd.io/v1alpha1',
      kind: 'AgentConfiguration',
      nodeName: name,
      bootstrapKubeconfig: bootstrapFile,
      certificates: [
        { name: 'kubelet-client', profile: 'kubelet-client' },
        {
          name: 'kubelet-server',
          profile: 'kubelet-serving',
          served: { endpoints: [`${address}:10250`] },
        },
      ],
      // Several agents share one network here.
      metrics: { address: '127.0.0.1:0' },
      ...(trust !== undefined && { trust: { enabled: true, ...trust } }),
    };
    await this.container.write('/etc/nodecertd/config.yaml', stringify(configuration));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.container[Symbol.asyncDispose]();
  }
}

/** The used fields of `nodecertd status -o json`. */
interface StatusDocument {
  readonly trustSync?: { readonly report?: { readonly stage: TrustStage } };
}

/** The used fields of `nodecertd doctor -o json`. */
interface DoctorDocument {
  readonly findings: readonly { readonly id: string; readonly remedy?: string }[];
}

/** The used fields of a line in the log of the agent. */
interface LogLine {
  readonly code?: string;
  readonly error?: string;
}

/** No time service reaches the clock of a container, so a script takes the place of timedatectl. */
export async function pretendTimeService(container: Container): Promise<void> {
  const script = '#!/bin/sh\necho NTPSynchronized=yes\n';
  await container.write('/usr/local/bin/timedatectl', script, 0o755);
}
