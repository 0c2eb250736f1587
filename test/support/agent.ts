import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { stringify } from 'yaml';
import type { LogEvent } from '../../src/core/log-events.ts';
import type { AgentStatus, CertificateStatus } from '../../src/core/status.ts';
import type { ControlPlane } from './control-plane.ts';
import { scaled } from './machine-speed.ts';

export interface LogLine {
  readonly event: LogEvent;
  readonly certificate?: string;
  readonly [field: string]: unknown;
}

/** Only a test that fails waits so long. */
const patience = scaled(90_000);

export interface AgentStart {
  /** Added to the environment of the test. */
  readonly env?: Readonly<Record<string, string>>;
  /** The program from `make build`; the sources run when absent. */
  readonly command?: string;
}

/** The folders and the configuration of a node, on which one agent after another can run. */
export class TestNode implements AsyncDisposable {
  readonly name: string;
  readonly directory: string;
  readonly pki: string;
  readonly configFile: string;
  #agents: TestAgent[] = [];

  private constructor(name: string, directory: string) {
    this.name = name;
    this.directory = directory;
    this.pki = join(directory, 'pki');
    this.configFile = join(directory, 'config.yaml');
  }

  /** @param settings replace keys of the configuration, which has only a client certificate */
  static async create(
    controlPlane: ControlPlane,
    name: string,
    settings: Readonly<Record<string, unknown>> = {},
  ): Promise<TestNode> {
    const directory = await mkdtemp(join(tmpdir(), `nodecertd-e2e-${name}-`));
    const node = new TestNode(name, directory);
    const bootstrapKubeconfig = join(directory, 'bootstrap.conf');
    await writeFile(bootstrapKubeconfig, await controlPlane.bootstrapKubeconfig(), { mode: 0o600 });
    const configuration = {
      apiVersion: 'nodecertd.io/v1alpha1',
      kind: 'AgentConfiguration',
      nodeName: name,
      kubeconfig: join(directory, 'kubelet.conf'),
      bootstrapKubeconfig,
      certificateDirectory: node.pki,
      stateDirectory: join(directory, 'state'),
      certificates: [client],
      store: { acceptVolatileDirectory: true },
      metrics: { address: '127.0.0.1:0' },
      log: { level: 'debug' },
      ...settings,
    };
    await writeFile(node.configFile, stringify(configuration));
    return node;
  }

  /** Starts an agent. An earlier one must have been stopped. */
  start(options: AgentStart = {}): TestAgent {
    const agent = new TestAgent(this, options);
    this.#agents.push(agent);
    return agent;
  }

  current(certificate: string): string {
    return join(this.pki, `${certificate}-current.pem`);
  }

  /** Reads the current pair as a consumer does, and checks that the key matches. */
  async read(certificate: string): Promise<X509Certificate> {
    return parsePair(await readFile(this.current(certificate), 'utf8'));
  }

  async target(certificate: string): Promise<string> {
    return readlink(this.current(certificate));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#agents.map((agent) => agent.stop()));
    await rm(this.directory, { recursive: true, force: true });
  }
}

export const client = { name: 'kubelet-client', profile: 'kubelet-client' };
export const serving = { name: 'kubelet-server', profile: 'kubelet-serving' };

/** A serving certificate whose names do not come from the Node. */
export const servingStatic = {
  ...serving,
  addresses: { from: 'static', dnsNames: ['worker'], ipAddresses: ['10.0.0.1'] },
};

const mainModule = join(import.meta.dirname, '../../src/main.ts');

/** @throws unless the text is a certificate, optional intermediates, and the matching key */
export function parsePair(text: string): X509Certificate {
  const certificate = new X509Certificate(text);
  const key = createPrivateKey(text);
  if (!certificate.checkPrivateKey(key)) throw new Error('the key does not match the certificate');
  return certificate;
}

/** The SHA-256 fingerprint of a certificate, as hex digits. */
export function fingerprintOf({ fingerprint256 }: Pick<X509Certificate, 'fingerprint256'>): string {
  return fingerprint256.replaceAll(':', '').toLowerCase();
}

/** A running agent, with its log and its HTTP endpoints. */
export class TestAgent {
  readonly lines: LogLine[] = [];
  readonly #child: ChildProcess;
  readonly #stray: string[] = [];
  readonly #watchers = new Set<() => void>();
  readonly #exited: Promise<unknown>;

  constructor(node: TestNode, { env, command }: AgentStart = {}) {
    const program = command === undefined ? [process.execPath, mainModule] : [command];
    const [file, ...args] = [...program, 'run', '--config', node.configFile];
    this.#child = spawn(file, args, {
      stdio: ['ignore', 'inherit', 'pipe'],
      env: { ...process.env, ...env },
    });
    const kill = (): void => void this.#child.kill('SIGKILL');
    process.once('exit', kill);
    this.#exited = once(this.#child, 'exit').finally(() => process.off('exit', kill));
    const { stderr } = this.#child;
    if (stderr !== null) createInterface({ input: stderr }).on('line', (line) => this.#read(line));
    this.#child.on('exit', () => this.#notify());
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get exitCode(): number | null {
    return this.#child.exitCode;
  }

  /** Whether it has exited or was killed. */
  get ended(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  get killed(): boolean {
    return this.#child.signalCode === 'SIGKILL';
  }

  /** The log lines with this event so far. */
  all(event: LogEvent, certificate?: string): LogLine[] {
    return this.lines.filter(matching(event, certificate));
  }

  /** Waits for the n-th log line with this event. */
  async event(event: LogEvent, certificate?: string, nth = 1): Promise<LogLine> {
    const found = (): LogLine | undefined => this.all(event, certificate)[nth - 1];
    await this.#until(`line ${nth} of ${event} ${certificate ?? ''}`, () => found() !== undefined);
    const line = found();
    if (line === undefined) throw new Error('unreachable');
    return line;
  }

  async status(): Promise<AgentStatus> {
    const { address } = await this.event('metrics_listening');
    const response = await fetch(`http://${String(address)}/status`);
    return (await response.json()) as AgentStatus;
  }

  async certificate(name: string): Promise<CertificateStatus> {
    const found = (await this.status()).certificates.find((entry) => entry.name === name);
    if (found === undefined) throw new Error(`no certificate ${name} in the status`);
    return found;
  }

  async get(path: string): Promise<{ readonly code: number; readonly text: string }> {
    const { address } = await this.event('metrics_listening');
    const response = await fetch(`http://${String(address)}${path}`);
    return { code: response.status, text: await response.text() };
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    this.#child.kill(signal);
    await this.exit();
  }

  /** Settles when the agent has ended. */
  async exit(): Promise<number | null> {
    await this.#exited;
    return this.#child.exitCode;
  }

  #read(line: string): void {
    try {
      this.lines.push(JSON.parse(line) as LogLine);
    } catch {
      this.#stray.push(line);
    }
    this.#notify();
  }

  #notify(): void {
    for (const watcher of this.#watchers) watcher();
  }

  async #until(what: string, condition: () => boolean): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const look = (): void => {
      if (condition()) resolve();
      else if (this.ended) reject(this.#failure(`ended without ${what}`));
    };
    const timer = setTimeout(() => reject(this.#failure(`did not reach ${what}`)), patience);
    this.#watchers.add(look);
    look();
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      this.#watchers.delete(look);
    }
  }

  #failure(what: string): Error {
    const log = [...this.lines.map((line) => JSON.stringify(line)), ...this.#stray];
    return new Error(`the agent ${what}; its log:\n${log.slice(-30).join('\n')}`);
  }
}

function matching(event: LogEvent, certificate: string | undefined): (line: LogLine) => boolean {
  return (line) =>
    line.event === event && (certificate === undefined || line.certificate === certificate);
}
