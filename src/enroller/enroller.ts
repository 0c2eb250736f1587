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
import { AgentError, toFailure, hasCode } from '../core/errors.ts';
import type { DoctorFinding } from '../core/findings.ts';
import { sameTemplate } from '../core/identity.ts';
import { formatInstant, minute } from '../core/instant.ts';
import { parsePem } from '../core/pem.ts';
import { skewLeeway } from '../core/schedule.ts';
import { parseCertificate } from '../core/x509.ts';
import type { KubeClient } from '../kube/rest-client.ts';
import { rotatedByKubelet } from '../kubelet/rotation.ts';
import type { LoadedPair } from '../store/pair-file.ts';
import { currentLink } from '../store/pair-names.ts';
import type { Inspection } from '../store/pair-store.ts';
import { PairStore } from '../store/pair-store.ts';
import type { Clock } from '../sys/clock.ts';
import { ApiAccess, doubtful } from './api-access.ts';
import { csrName } from './csr-name.ts';
import { Enrollment } from './enrollment.ts';
import { KubeconfigCare } from './kubeconfig-care.ts';
import { lookUpAddresses } from './node-look-up.ts';
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
}

/** The doctor's checks that an agent runs once; a port, because the doctor is above the enroller. */
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
  /** The keeper's latest request for this work; it has given up the earlier ones. */
  id: RequestId;
  running: boolean;
}

interface LookUp {
  readonly follow: boolean;
  readonly reply: (reply: EnrollerReplies['look-up-addresses']) => void;
}

/**
 * Does what takes the node's identity or a private key, on the keeper's command:
 * commands start work and return at once; what comes of it is reported. Nothing
 * here decides when to try again.
 */
export class Enroller implements AsyncDisposable {
  readonly #options: EnrollerOptions;
  readonly #access: ApiAccess;
  /** Only where the client certificate is kept. */
  readonly #kubeconfig: KubeconfigCare | undefined;
  readonly #jobs = new Map<string, Job>();
  readonly #lookUp = new AbortController();
  #lookingUp = false;
  #nextLookUp: LookUp | undefined;
  /** Work on one certificate's files happens in turn: a look must not see half a swap. */
  readonly #turns = new Map<string, Promise<void>>();

  constructor(options: EnrollerOptions) {
    this.#options = options;
    const clientPair = clientPairOf(options.config);
    this.#access = new ApiAccess({ ...options, clientPair });
    if (clientPair !== undefined) this.#kubeconfig = new KubeconfigCare({ ...options, clientPair });
  }

  handle(command: EnrollerCommand): void {
    if (command.type === 'abandon') return this.#abandon(command.name);
    const reply = (answer: EnrollerReply): void => {
      this.#options.report({ ...answer, id: command.id });
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
      const observed = await rotatedByKubelet(this.#options.config, name);
      if (observed !== undefined) return await this.#watched(name, observed);
      const found = await this.#store(name).inspect();
      if (this.#spec(name).profile === 'kubelet-client') {
        await this.#kubeconfig?.check(found.pair);
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

  /** Nothing is tidied or repaired: it is somebody else's. */
  async #watched(name: string, observed: Observed): Promise<InspectionReply> {
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
      const stored = await job.enrollment.run(job.abort.signal);
      this.#forget(name, job);
      // Also when it was given up meanwhile: the files have changed.
      this.#options.report({ type: 'stored', id: job.id, ...stored });
    } catch (error) {
      // Before the report, which may be answered with the next command at once.
      job.running = false;
      this.#failed(name, job, error);
    }
  }

  #failed(name: string, job: Job, error: unknown): void {
    // Abandoned: nobody wants to hear of it.
    if (job.abort.signal.aborted) return;
    const { resumable } = job.enrollment;
    if (!resumable) this.#forget(name, job);
    const failure = toFailure(error);
    if (doubtful.has(failure.code)) this.#access.doubt();
    this.#options.report({ type: 'failed', id: job.id, failure, resumable });
  }

  /** The job under way, if it is for the same template: one key and one CSR until decided. */
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
   * Reads what is there, so that a directory which cannot be used costs no CSR. It
   * also has the code that will judge and store the new pair loaded and compiled by
   * the time it comes; with no pair yet, the cluster's CA serves for that meanwhile.
   */
  async #prepare(name: string, signal: AbortSignal): Promise<void> {
    await this.#refuseBesideKubelet(name);
    this.#refuseBootstrap(name);
    const pair = await this.#readable(name);
    if (pair !== undefined) return this.#refuseWhileBehind(pair.facts, signal);
    const authority = this.#access.current().access.cluster.certificateAuthority;
    const blocks = authority === undefined ? [] : parsePem(authority.pem);
    void Promise.allSettled(blocks.map(({ der }) => parseCertificate(der)));
  }

  /** Its configuration may have changed since the last look. */
  async #refuseBesideKubelet(name: string): Promise<void> {
    const { config } = this.#options;
    const observed = await rotatedByKubelet(config, name);
    if (observed === undefined) return;
    throw new AgentError(
      'STORE_LOCKED',
      `the kubelet rotates ${name} itself: ${observed.key} is true in ${observed.file}`,
      { remedy: 'Hand the certificate over to the agent: nodecertd adopt' },
    );
  }

  /**
   * The client certificate can expire between the command and the request. Asked for
   * under the bootstrap identity, a serving certificate is never signed, and the
   * request would stand until the cleaner comes, a day later.
   */
  #refuseBootstrap(name: string): void {
    const client = clientPairOf(this.#options.config);
    if (client === undefined || this.#spec(name).profile === 'kubelet-client') return;
    if (this.#access.source !== 'bootstrap') return;
    throw new AgentError(
      'CREDENTIAL_EXPIRED',
      `${name} is asked for with the client certificate, and there is none that is valid at ${client}`,
      { remedy: 'See the lines of the client certificate: it is renewed first' },
    );
  }

  /**
   * A pair that is not valid yet is asked for anew only if it is from the future for the
   * API server as well: with a clock that is behind, the next one would be no better.
   */
  async #refuseWhileBehind(pair: PairFacts, signal: AbortSignal): Promise<void> {
    const here = this.#options.clock.now();
    if (pair.selfSigned || pair.notBefore <= here + skewLeeway) return;
    const there = await this.#access.serverTime(signal);
    if (pair.notBefore > there + skewLeeway) return;
    throw new AgentError(
      'CERT_NOT_YET_VALID',
      `${pair.path} is valid from ${formatInstant(pair.notBefore)}; it is ${formatInstant(there)} at the API server, but ${formatInstant(here)} here`,
      { remedy: 'set the clock of this node: timedatectl', retryAfterMs: behindInterval },
    );
  }

  /** A damaged pair is one reason more to go on; a directory that cannot be read is none. */
  async #readable(name: string): Promise<LoadedPair | undefined> {
    try {
      return await this.#store(name).peek();
    } catch (error) {
      if (hasCode(error, 'PAIR_MALFORMED', 'CERT_KEY_MISMATCH')) return undefined;
      throw error;
    }
  }

  /** The new client pair takes effect: the kubeconfig names it, and connections move to it. */
  async #useClientPair(name: string): Promise<void> {
    if (this.#spec(name).profile !== 'kubelet-client') return;
    if (this.#access.source === 'bootstrap') {
      await this.#kubeconfig?.write(this.#access.current().access.cluster);
    }
    // The pair is in place whatever the kubeconfig looks like now: that is for the next attempt to say.
    await this.#access.refresh().catch(() => this.#access.doubt());
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
   * The last report of a look-up goes out before its watch has wound down. The keeper
   * may answer it with the next command at once, and would wait for ever if that were
   * taken for a repetition of the first.
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
      nodeName: this.#options.config.nodeName,
      follow,
      reply,
      signal: this.#lookUp.signal,
    });
  }

  /** Beside whatever else is done with the pair: it only reads. Loaded when it is asked for. */
  async #checkServed(
    command: Extract<EnrollerCommand, { type: 'check-served' }>,
  ): Promise<EnrollerReplies['check-served']> {
    const { name, serial, withinMs } = command;
    const { clock } = this.#options;
    try {
      const { served } = this.#spec(name);
      if (served === undefined) throw new AgentError('INTERNAL', `${name} is served nowhere`);
      const { checkServed } = await import('./served-check.ts');
      const pair = (): Promise<LoadedPair | undefined> => this.#readable(name);
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
    const { config } = this.#options;
    try {
      const observed = await rotatedByKubelet(config, name);
      const outcome =
        observed === undefined
          ? await this.#store(name).rollBack(serial)
          : ({ kind: 'impossible', reason: 'the kubelet rotates it itself' } as const);
      return { type: 'rolled-back', outcome };
    } catch (error) {
      return { type: 'rolled-back', outcome: { kind: 'failed', failure: toFailure(error) } };
    }
  }

  /** Loaded when it is asked for: the first pair comes sooner without. */
  async #preflight(): Promise<EnrollerReplies['preflight']> {
    const { config, clock, checkNode } = this.#options;
    const open = async (): Promise<ApiConnection> => {
      await this.#access.opened();
      return { client: this.#access.current(), source: this.#access.source ?? 'kubeconfig' };
    };
    try {
      const around = { clock, signal: this.#lookUp.signal };
      return { type: 'preflight', findings: await checkNode(config, { open }, around) };
    } catch {
      // Nobody's certificate hangs on it, and `nodecertd doctor` says what is wrong.
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

/** How often at most a node whose clock is behind asks what time it is: a fleet may have one time server. */
const behindInterval = 5 * minute;

/** At most one certificate has this profile. */
function clientPairOf({ certificates, certificateDirectory }: AgentConfig): string | undefined {
  const client = certificates.find(({ profile }) => profile === 'kubelet-client');
  return client === undefined ? undefined : join(certificateDirectory, currentLink(client.name));
}
