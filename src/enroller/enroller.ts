import { join } from 'node:path';
import type { PairFacts } from '../core/certificate.ts';
import type { CertificateSpec, CertificateTemplate } from '../core/certificate-spec.ts';
import type { AgentConfig } from '../core/config.ts';
import type {
  EnrollerCommand,
  EnrollerReplies,
  EnrollerReply,
  EnrollerReport,
  EnrollmentProgress,
  InspectionReply,
  Observed,
  RequestId,
} from '../core/enroller-protocol.ts';
import { AgentError, hasCode, toFailure } from '../core/errors.ts';
import type { DoctorFinding } from '../core/findings.ts';
import { sameTemplate } from '../core/identity.ts';
import { formatInstant, minute } from '../core/instant.ts';
import { parsePem } from '../core/pem.ts';
import { skewLeeway } from '../core/schedule.ts';
import { parseCertificate } from '../core/x509.ts';
import type { ClusterEndpoint } from '../kube/cluster-access.ts';
import type { KubeClient } from '../kube/rest-client.ts';
import { KubeletRotation } from '../kubelet/rotation.ts';
import type { LoadedPair } from '../store/pair-file.ts';
import { currentLink } from '../core/certificate-spec.ts';
import type { Inspection } from '../store/pair-store.ts';
import { PairStore } from '../store/pair-store.ts';
import type { Clock } from '../sys/clock.ts';
import { ApiAccess } from './api-access.ts';
import type { DiscoverCluster } from './cluster-discovery.ts';
import { csrName } from './csr-name.ts';
import type { StoredPair } from './enrollment.ts';
import { Enrollment } from './enrollment.ts';
import { KubeconfigMaintainer } from './kubeconfig-maintainer.ts';
import { lookUpAddresses, refusedError } from './node-look-up.ts';
import { selfSignedPair } from './self-signed.ts';
import { verifyTrust } from './trust.ts';

export interface EnrollerOptions {
  readonly config: AgentConfig;
  readonly version: string;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly interfaces: () => readonly string[];
  readonly report: (report: EnrollerReport) => void;
  readonly checkNode: CheckNode;
  readonly discover: DiscoverCluster;
}

/** The doctor's checks that the agent runs too. The caller passes them in, because the enroller's layer must not import the doctor. */
export type CheckNode = (
  config: AgentConfig,
  api: { readonly open: () => Promise<ApiConnection> },
  options: { readonly clock: Clock; readonly signal: AbortSignal },
) => Promise<DoctorFinding[]>;

interface ApiConnection {
  readonly client: KubeClient;
  readonly source: 'kubeconfig' | 'bootstrap';
}

interface Job {
  readonly enrollment: Enrollment;
  readonly abort: AbortController;
  /** The keeper's latest request for this work. The keeper has abandoned earlier requests. */
  id: RequestId;
  running: boolean;
}

interface LookUp {
  readonly follow: boolean;
  readonly reply: (reply: EnrollerReplies['look-up-addresses']) => void;
}

/**
 * Does the work that needs the node's identity or a private key. A command starts the work and
 * returns at once; a report contains the result. The keeper schedules retries.
 */
export class Enroller implements AsyncDisposable {
  readonly #options: EnrollerOptions;
  readonly #access: ApiAccess;
  readonly #kubelet: KubeletRotation;
  /** Undefined unless this agent manages the client certificate. */
  readonly #kubeconfig: KubeconfigMaintainer | undefined;
  readonly #jobs = new Map<string, Job>();
  readonly #lookUp = new AbortController();
  #lookingUp = false;
  #nextLookUp: LookUp | undefined;
  /** Serializes the work on the files of one certificate: an inspection must not see half a rotation. */
  readonly #turns = new Map<string, Promise<void>>();

  constructor(options: EnrollerOptions) {
    this.#options = options;
    const clientPair = clientPairOf(options.config);
    this.#access = new ApiAccess({
      ...options,
      clientPair,
      keepTrust: async (cluster) => this.#keepTrust(cluster),
    });
    this.#kubelet = new KubeletRotation(options.config);
    if (clientPair !== undefined)
      this.#kubeconfig = new KubeconfigMaintainer({ ...options, clientPair });
  }

  handle(command: EnrollerCommand): void {
    if (command.type === 'abandon') return this.#abandon(command.name);
    const reply = (result: EnrollerReply): void => {
      this.#options.report({ ...result, id: command.id });
    };
    switch (command.type) {
      case 'inspect':
        return this.#inTurn(command.name, async () => reply(await this.#inspect(command.name)));
      case 'self-sign':
        return this.#inTurn(command.name, async () => reply(await this.#selfSign(command.name)));
      case 'enroll':
        return void this.#enroll(command);
      case 'look-up-addresses':
        return void this.#lookUpAddresses({ follow: command.follow, reply });
      case 'check-served':
        return void this.#checkServed(command).then(reply);
      case 'roll-back':
        return this.#inTurn(command.name, async () => reply(await this.#rollBack(command)));
      case 'preflight':
        return void this.#preflight().then(reply);
      default:
        return command satisfies never;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#lookUp.abort();
    for (const name of this.#jobs.keys()) this.#abandon(name);
    await Promise.allSettled(this.#turns.values());
    await this.#access[Symbol.asyncDispose]();
  }

  async #inspect(name: string): Promise<InspectionReply> {
    try {
      const observed = await this.#kubelet.settingFor(name);
      if (observed !== undefined) return await this.#observe(name, observed);
      const found = await this.#store(name).inspect();
      if (this.#spec(name).profile === 'kubelet-client') {
        await this.#kubeconfig?.check(found.pair, this.#lookUp.signal);
      }
      return this.#inspected(name, found);
    } catch (error) {
      return { type: 'inspection-failed', failure: toFailure(error) };
    }
  }

  async #selfSign(name: string): Promise<InspectionReply> {
    const { config, clock, interfaces } = this.#options;
    try {
      const store = this.#store(name);
      const found = await store.inspect();
      if (found.pair !== undefined) return this.#inspected(name, found);
      const spec = this.#spec(name);
      const hostName = config.nodeName;
      using pem = await selfSignedPair({
        spec,
        hostName,
        ipAddresses: interfaces(),
        now: clock.now(),
      });
      return { type: 'inspected', isNew: true, ...(await store.write(pem)) };
    } catch (error) {
      return { type: 'inspection-failed', failure: toFailure(error) };
    }
  }

  /** Repairs nothing: the files belong to the kubelet. */
  async #observe(name: string, observed: Observed): Promise<InspectionReply> {
    const found = await this.#store(name).peek();
    const pair = found?.facts;
    return { type: 'inspected', observed, findings: [], ...(pair !== undefined && { pair }) };
  }

  #inspected(name: string, { pair, publicKey, findings }: Inspection): InspectionReply {
    return {
      type: 'inspected',
      findings,
      ...(pair !== undefined && { pair }),
      ...(publicKey !== undefined && { csr: csrName(publicKey, this.#spec(name)) }),
    };
  }

  async #enroll(command: Extract<EnrollerCommand, { type: 'enroll' }>): Promise<void> {
    const { name } = command;
    const job = this.#jobFor(command);
    job.id = command.id;
    if (job.running) return;
    job.running = true;
    try {
      const stored = await this.#run(job);
      this.#forget(name, job);
      // Reported even if the keeper abandoned the attempt in the meantime: the files have changed.
      this.#options.report({ type: 'stored', id: job.id, ...stored });
    } catch (error) {
      // Before the report, because the keeper may send the next command as soon as it gets the report.
      job.running = false;
      this.#failed(name, job, error);
    }
  }

  /** Runs again at once if another credential or another CA on this node may help. */
  async #run({ enrollment, abort: { signal } }: Job): Promise<StoredPair> {
    try {
      return await enrollment.run(signal);
    } catch (error) {
      if (signal.aborted || !this.#access.failed(toFailure(error))) throw error;
      return enrollment.run(signal);
    }
  }

  #failed(name: string, job: Job, error: unknown): void {
    // The keeper abandoned this attempt.
    if (job.abort.signal.aborted) return;
    const { resumable } = job.enrollment;
    if (!resumable) this.#forget(name, job);
    const failure = toFailure(error);
    this.#access.failed(failure);
    this.#options.report({ type: 'failed', id: job.id, failure, resumable });
  }

  /** The existing job if it has the same template, so that one key and one CSR serve all its attempts. */
  #jobFor({ name, id, template }: Extract<EnrollerCommand, { type: 'enroll' }>): Job {
    const known = this.#jobs.get(name);
    if (known !== undefined && sameTemplate(known.enrollment.template, template)) return known;
    if (known !== undefined) this.#abandon(name);
    const job: Job = {
      enrollment: this.#enrollment(name, template, (step) => {
        this.#options.report({ ...step, id: job.id });
      }),
      abort: new AbortController(),
      id,
      running: false,
    };
    this.#jobs.set(name, job);
    return job;
  }

  #enrollment(
    name: string,
    template: CertificateTemplate,
    report: (step: EnrollmentProgress) => void,
  ): Enrollment {
    const access = this.#access;
    return new Enrollment({
      ...this.#options,
      report,
      name,
      template,
      access,
      store: { write: (pem) => this.#exclusively(name, () => this.#store(name).write(pem)) },
      prepare: (signal) => this.#prepare(name, signal),
      onStored: () => this.#useClientPair(name),
      verifyTrust: (chain, key, signal) => verifyTrust({ access, template, chain, key, signal }),
    });
  }

  /**
   * Reads the existing pair, so that an unusable directory fails the attempt before a CSR exists.
   * This also loads and compiles the code that later checks and stores the new pair. Without an
   * existing pair, parsing the cluster's CA has the same effect.
   */
  async #prepare(name: string, signal: AbortSignal): Promise<void> {
    await this.#requireNoRotationByKubelet(name);
    this.#requireClientCertificate(name);
    const { bootstrap } = this.#options.config;
    if (bootstrap.discovery !== undefined && this.#isBootstrapOf(name))
      await this.#kubeconfig?.prepare(this.#cluster);
    const pair = await this.#existingPair(name);
    if (pair !== undefined) return this.#requireClockNotBehind(pair.facts, signal);
    const authority = this.#access.current().access.cluster.certificateAuthority;
    const blocks = authority === undefined ? [] : parsePem(authority.pem);
    void Promise.allSettled(blocks.map(({ der }) => parseCertificate(der)));
  }

  /** The kubelet's configuration may have changed after the last inspection. */
  async #requireNoRotationByKubelet(name: string): Promise<void> {
    const observed = await this.#kubelet.settingFor(name);
    if (observed === undefined) return;
    throw new AgentError(
      'STORE_LOCKED',
      `the kubelet rotates ${name} itself: ${observed.key} is true in ${observed.file}`,
      { remedy: 'Let nodecertd rotate it: nodecertd adopt' },
    );
  }

  /**
   * The client certificate can expire between the command and the request. With the bootstrap
   * identity, the signer never issues a serving certificate, and the CSR would stay pending
   * until the cluster deletes it a day later.
   */
  #requireClientCertificate(name: string): void {
    const client = clientPairOf(this.#options.config);
    if (client === undefined || this.#spec(name).profile === 'kubelet-client') return;
    if (this.#access.source !== 'bootstrap') return;
    if (!this.#access.isJoining) throw refusedError(`request ${name}`);
    throw new AgentError(
      'CREDENTIAL_EXPIRED',
      `cannot request ${name}: the request needs a client certificate, and ${client} is not valid`,
      { remedy: 'Check why the client certificate is not valid: nodecertd status' },
    );
  }

  /**
   * Rejects the attempt if the existing pair is already valid by the clock of the API server:
   * then the clock of this node is behind, and a new pair would not be valid here either.
   */
  async #requireClockNotBehind(pair: PairFacts, signal: AbortSignal): Promise<void> {
    const here = this.#options.clock.now();
    if (pair.selfSigned || pair.notBefore <= here + skewLeeway) return;
    const there = await this.#access.serverTime(signal);
    if (pair.notBefore > there + skewLeeway) return;
    throw new AgentError(
      'CERT_NOT_YET_VALID',
      `${pair.path} is not valid before ${formatInstant(pair.notBefore)}: the clock of the API server shows ${formatInstant(there)}, the clock of this node ${formatInstant(here)}`,
      { remedy: 'Set the clock of this node: timedatectl', retryAfterMs: behindInterval },
    );
  }

  /** A corrupt pair gets replaced; an unreadable directory aborts the attempt. */
  async #existingPair(name: string): Promise<LoadedPair | undefined> {
    try {
      return await this.#store(name).peek();
    } catch (error) {
      if (hasCode(error, 'PAIR_MALFORMED', 'CERT_KEY_MISMATCH')) return undefined;
      throw error;
    }
  }

  /** Points the kubeconfig at the new client certificate, and opens connections that use it. */
  async #useClientPair(name: string): Promise<void> {
    if (this.#spec(name).profile !== 'kubelet-client') return;
    if (this.#isBootstrapOf(name)) await this.#kubeconfig?.write(this.#cluster);
    // The certificate is already stored, and the next attempt reports an unreadable kubeconfig.
    await this.#access.refresh().catch(() => this.#access.invalidate());
  }

  #isBootstrapOf(name: string): boolean {
    return this.#spec(name).profile === 'kubelet-client' && this.#access.isJoining;
  }

  get #cluster(): ClusterEndpoint {
    return this.#access.current().access.cluster;
  }

  /**
   * The kubelet needs the trust too. If the kubelet rotates the client certificate, the kubeconfig
   * belongs to the kubelet.
   */
  async #keepTrust(cluster: ClusterEndpoint): Promise<void> {
    const { certificates } = this.#options.config;
    const name = certificates.find(({ profile }) => profile === 'kubelet-client')?.name;
    if (name === undefined || (await this.#kubelet.settingFor(name)) !== undefined) return;
    await this.#exclusively(name, async () => this.#kubeconfig?.keep(cluster));
  }

  #abandon(name: string): void {
    const job = this.#jobs.get(name);
    if (job === undefined) return;
    job.abort.abort();
    this.#forget(name, job);
  }

  #forget(name: string, job: Job): void {
    job.enrollment[Symbol.dispose]();
    if (this.#jobs.get(name) === job) this.#jobs.delete(name);
  }

  /**
   * A look-up sends its last report before its watch has closed. The keeper may then send the
   * next command at once. The enroller must not ignore that command as a duplicate, or the
   * keeper would wait forever.
   */
  async #lookUpAddresses(lookUp: LookUp): Promise<void> {
    this.#nextLookUp = lookUp;
    if (this.#lookingUp) return;
    this.#lookingUp = true;
    try {
      while (this.#nextLookUp !== undefined && !this.#lookUp.signal.aborted) {
        const next = this.#nextLookUp;
        this.#nextLookUp = undefined;
        await this.#lookUpOnce(next);
      }
    } finally {
      this.#lookingUp = false;
    }
  }

  async #lookUpOnce({ follow, reply }: LookUp): Promise<void> {
    await lookUpAddresses({
      ...this.#options,
      access: this.#access,
      hasIdentity: clientPairOf(this.#options.config) !== undefined,
      nodeName: this.#options.config.nodeName,
      follow,
      reply,
      signal: this.#lookUp.signal,
    });
  }

  /** Changes no files, so it runs in parallel with other work on the pair. The first use loads the code. */
  async #checkServed(
    command: Extract<EnrollerCommand, { type: 'check-served' }>,
  ): Promise<EnrollerReplies['check-served']> {
    const { name, serial, withinMs } = command;
    const { clock } = this.#options;
    try {
      const { served } = this.#spec(name);
      if (served === undefined)
        throw new AgentError('INTERNAL', `${name} has no endpoints to check`);
      const { checkServed } = await import('./served-check.ts');
      const pair = (): Promise<LoadedPair | undefined> => this.#existingPair(name);
      const { signal } = this.#lookUp;
      const outcome = await checkServed({ served, serial, withinMs, pair, clock, signal });
      return { type: 'served', outcome };
    } catch (error) {
      return { type: 'served', outcome: { kind: 'failed', failure: toFailure(error) } };
    }
  }

  async #rollBack(
    command: Extract<EnrollerCommand, { type: 'roll-back' }>,
  ): Promise<EnrollerReplies['roll-back']> {
    const { name, serial } = command;
    try {
      const observed = await this.#kubelet.settingFor(name);
      const outcome =
        observed === undefined
          ? await this.#store(name).rollBack(serial)
          : ({
              kind: 'impossible',
              reason: 'the kubelet rotates this certificate itself',
            } as const);
      return { type: 'rolled-back', outcome };
    } catch (error) {
      return { type: 'rolled-back', outcome: { kind: 'failed', failure: toFailure(error) } };
    }
  }

  /** The first use loads the code, so that the code does not delay the first certificate. */
  async #preflight(): Promise<EnrollerReplies['preflight']> {
    const { config, clock, checkNode } = this.#options;
    const open = async (): Promise<ApiConnection> => {
      await this.#access.opened();
      return { client: this.#access.current(), source: this.#access.source ?? 'kubeconfig' };
    };
    try {
      const options = { clock, signal: this.#lookUp.signal };
      return { type: 'preflight', findings: await checkNode(config, { open }, options) };
    } catch {
      // No certificate depends on these checks, and `nodecertd doctor` reports the error.
      return { type: 'preflight', findings: [] };
    }
  }

  #inTurn(name: string, work: () => Promise<void>): void {
    void this.#exclusively(name, work);
  }

  async #exclusively<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(name) ?? Promise.resolve();
    const result = before.then(work);
    this.#turns.set(
      name,
      result.then(
        () => undefined,
        () => undefined,
      ),
    );
    return result;
  }

  #store(name: string): PairStore {
    const { config, clock } = this.#options;
    const { certificateDirectory: directory, store } = config;
    return new PairStore({ directory, name, clock, config: store });
  }

  #spec(name: string): CertificateSpec {
    const spec = this.#options.config.certificates.find((candidate) => candidate.name === name);
    if (spec === undefined)
      throw new AgentError('INTERNAL', `no certificate ${name} is configured`);
    return spec;
  }
}

/** The minimum interval between two attempts of a node whose clock is behind, because one bad time server can affect a whole fleet. */
const behindInterval = 5 * minute;

/** The configuration allows only one certificate with this profile. */
function clientPairOf({ certificates, certificateDirectory }: AgentConfig): string | undefined {
  const client = certificates.find(({ profile }) => profile === 'kubelet-client');
  return client === undefined ? undefined : join(certificateDirectory, currentLink(client.name));
}
