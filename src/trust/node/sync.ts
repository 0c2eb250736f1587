import type { Failure } from '../../core/errors.ts';
import { AgentError, hasCode, toFailure } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import { formatInstant, second } from '../../core/instant.ts';
import { missingFrom, unionOf } from '../../core/trust-bundle.ts';
import type {
  RefusedTrust,
  TrustFinding,
  TrustOutcome,
  TrustReport,
} from '../../core/trust-report.ts';
import type { TrustAuthority } from '../../core/trust.ts';
import { without } from '../../core/without.ts';
import { reportOnNode } from './annotation.ts';
import { applyTrust } from './apply.ts';
import { clockDoubt, clockFinding } from './clock-doubt.ts';
import { dropAuthority, reasonsAgainstDrop } from './drop.ts';
import { kubeletFacts, kubeletTrust } from './kubelet-facts.ts';
import { restartIfDue } from './kubelet-restart.ts';
import { issuingAuthority } from './issuer.ts';
import type { CurrentLeaf } from './leaves.ts';
import { currentLeaves } from './leaves.ts';
import type { NodeApi } from './node-api.ts';
import { openNodeApi } from './node-api.ts';
import type { Reader, ReaderFacts } from './reader.ts';
import { readerOf } from './reader.ts';
import { annotationOf, reportOf, unwantedOf } from './report.ts';
import { nextAttempt, rollbackFinding, withRollback } from './rolled-back.ts';
import { unverifiedRefusal } from './servers.ts';
import type { TrustRequest } from './session.ts';
import { TrustSession } from './session.ts';
import { readSources } from './sources.ts';
import { withReading } from './trust-memory.ts';
import type { WantedTrust } from './wanted.ts';
import { ambiguityFindings, briefly, wantedTrust } from './wanted.ts';

export interface SyncOptions {
  /** Restart the kubelet at once if it may not use the CAs of its files. */
  readonly restartNow: boolean;
  /** A person runs the command, so CAs with which the kubelet did not stay up are tried again. */
  readonly byHand: boolean;
}

/**
 * Adds the CAs of the sources to the places of this node, makes the kubelet use them, and drops
 * those that are no longer needed if the configuration says so.
 * @throws AgentError STORE_* if the lock or the state cannot be written; ABORTED
 */
export async function syncTrust(request: TrustRequest, options: SyncOptions): Promise<TrustReport> {
  await using session = await TrustSession.open(request);
  return await new Sync(session, options).run();
}

/** One run, and what it has found so far. */
class Sync {
  readonly #session: TrustSession;
  readonly #options: SyncOptions;
  readonly #findings: TrustFinding[] = [];
  #doubt: string | undefined;
  #isChanged = false;
  #isFailed = false;
  #refusal: RefusedTrust | undefined;
  #failure: Failure | undefined;
  #restartAt: Instant | undefined;
  /** When the next run is due. */
  #until = Infinity;

  constructor(session: TrustSession, options: SyncOptions) {
    this.#session = session;
    this.#options = options;
  }

  async run(): Promise<TrustReport> {
    const session = this.#session;
    await this.#checkClock();
    const wanted = await this.#readSources();
    await this.#add(wanted);
    await using api = await openNodeApi(session);
    this.#findings.push(...api.findings);
    const reader = await this.#ensureReader(api);
    this.#countMissing(wanted);
    const keptBecause = await this.#drop(wanted, reader);
    const leaves = await currentLeaves(session.request.config);
    const issuers = await this.#issuers(leaves, api);
    const report = reportOf(session, {
      wanted,
      reader,
      restartAt: this.#restartAt,
      leaves,
      issuers,
      keptBecause,
      findings: this.#everyFinding(wanted),
      end: this.#end(),
    });
    const { nodeName } = session.request.config;
    const { client, node } = api;
    const annotation = annotationOf(session, report, leaves);
    const { signal } = session.request;
    const unreported =
      client === undefined || node === undefined
        ? []
        : await reportOnNode(client, { nodeName, node, report: annotation, signal });
    await session.save();
    return { ...report, findings: [...report.findings, ...unreported] };
  }

  /** A wrong clock neither drops a CA nor refuses one for good. */
  async #checkClock(): Promise<void> {
    const { trusted, now, request } = this.#session;
    this.#doubt = clockDoubt(trusted, { now, sync: await request.clockSync() });
    if (this.#doubt !== undefined) this.#findings.push(clockFinding(this.#doubt));
  }

  async #readSources(): Promise<WantedTrust> {
    const session = this.#session;
    const { config, version, clock, signal } = session.request;
    const { file, pins } = config.trust;
    try {
      using access = await session.openAccess();
      const options = { access, version, clock, signal, ...(file !== undefined && { file }) };
      const readings = await readSources(options);
      return wantedTrust(readings, { held: session.trusted, pins, now: session.now });
    } catch (error) {
      return { failure: failureOf(error), sources: [], findings: [] };
    }
  }

  /** Adds what the places lack, if the CAs of the sources alone verify the API servers. */
  async #add(wanted: WantedTrust): Promise<void> {
    const { authorities, refusal, failure } = wanted;
    if (authorities === undefined) return this.#reject(refusal, failure);
    const session = this.#session;
    const missing = missingFrom(session.trusted, authorities);
    if (session.hasEverywhere(authorities)) this.#forgetRollback();
    else if (this.#isHeldBack(missing) || !(await this.#isVerified(wanted))) return;
    try {
      const changes = session.changes((held) => unionOf(held, authorities));
      const run = await applyTrust(session.files, { changes, verify: () => session.verify() });
      if (run !== undefined) this.#changed();
    } catch (error) {
      this.#isFailed = true;
      this.#failure = failureOf(error);
    }
    await session.refresh();
  }

  #changed(): void {
    const session = this.#session;
    this.#isChanged = true;
    session.memory = { ...session.memory, changedAt: session.now };
  }

  /** With a wrong clock, a valid CA looks expired. */
  #reject(refusal: RefusedTrust | undefined, failure: Failure | undefined): void {
    const isByClock = refusal?.reason === 'expired' || refusal?.reason === 'not-yet-valid';
    if (refusal !== undefined && !(isByClock && this.#doubt !== undefined)) {
      this.#refusal = refusal;
      return;
    }
    this.#failure = failure ?? {
      code: 'CLOCK_UNTRUSTED',
      message: `${this.#doubt ?? ''}; ${refusal?.message ?? ''}`,
      remedy: 'Start a time service, and check the clock: timedatectl',
    };
  }

  async #isVerified({ authorities = [], sources }: WantedTrust): Promise<boolean> {
    const source = sources.find(({ outcome }) => outcome === 'read');
    try {
      const dialed = await this.#session.dial(authorities);
      const refusal = source && unverifiedRefusal(dialed, source);
      if (refusal !== undefined) this.#reject(refusal, undefined);
      return refusal === undefined;
    } catch (error) {
      this.#failure = failureOf(error);
      return false;
    }
  }

  #isHeldBack(missing: readonly TrustAuthority[]): boolean {
    const { memory, now } = this.#session;
    const next = nextAttempt(memory, fingerprints(missing));
    if (next === undefined || memory.rolledBack === undefined) return false;
    if (this.#options.byHand || now >= next || now < memory.rolledBack.at) return false;
    const finding = rollbackFinding(memory.rolledBack, next);
    this.#findings.push(finding);
    this.#failure = { code: 'KUBELET_RESTART', ...without(finding, 'id') };
    return true;
  }

  #forgetRollback(): void {
    const session = this.#session;
    if (session.memory.reader?.changedAt !== undefined) return;
    session.memory = without(session.memory, 'rolledBack');
  }

  /** Finds out whether the kubelet uses the CAs, and restarts it when that is due. */
  async #ensureReader(api: NodeApi): Promise<Reader> {
    const session = this.#session;
    const { client } = api;
    const facts = await this.#kubeletFacts(api);
    const reader = this.#observe(facts);
    const { restartNow } = this.#options;
    const restart = await restartIfDue({ session, reader, facts, client, restartNow });
    switch (restart.kind) {
      case 'none':
        return reader;
      case 'waiting':
        this.#failure ??= restart.failure;
        this.#until = Math.min(this.#until, restart.until ?? Infinity);
        if (reader.readAt === undefined) this.#restartAt = restart.until;
        this.#findings.push(readerFinding(restart.failure));
        return reader;
      case 'done':
        this.#isChanged = true;
        return this.#observe(await this.#kubeletFacts(api));
      case 'failed':
        this.#fail(restart.failure);
        return reader;
      case 'rolled-back':
        return this.#rolledBack(restart.failure, api);
      default:
        return restart satisfies never;
    }
  }

  #fail(failure: Failure): void {
    this.#isFailed = true;
    this.#failure = failure;
  }

  async #rolledBack(failure: Failure, api: NodeApi): Promise<Reader> {
    const session = this.#session;
    const before = session.trusted;
    await session.refresh();
    const lost = missingFrom(session.trusted, before);
    session.memory = withRollback(session.memory, fingerprints(lost), session.now);
    this.#fail(failure);
    const { rolledBack } = session.memory;
    const next = nextAttempt(session.memory, fingerprints(lost));
    if (rolledBack && next !== undefined) this.#findings.push(rollbackFinding(rolledBack, next));
    return this.#observe(await this.#kubeletFacts(api));
  }

  #observe(facts: ReaderFacts): Reader {
    const session = this.#session;
    const reader = readerOf(session.memory.reader, facts);
    const { memory } = reader;
    session.memory = { ...without(session.memory, 'reader'), ...(memory && { reader: memory }) };
    return reader;
  }

  async #kubeletFacts({ node }: NodeApi): Promise<ReaderFacts> {
    const { request, found, now } = this.#session;
    const { config, machine = {} } = request;
    const version = node?.kubeletVersion === '' ? undefined : node?.kubeletVersion;
    return kubeletFacts(kubeletTrust(found.places), { config, machine, version, now });
  }

  #countMissing(wanted: WantedTrust): void {
    const session = this.#session;
    if (wanted.authorities === undefined) return;
    const unwanted = fingerprints(unwantedOf(session, wanted));
    session.memory = withReading(session.memory, unwanted, session.now);
  }

  /** Drops the CAs that nothing needs, one at a time. @returns why the others stay */
  async #drop(wanted: WantedTrust, { state }: Reader): Promise<Map<string, readonly string[]>> {
    const session = this.#session;
    const kept = new Map<string, readonly string[]>();
    for (const authority of this.#candidates(wanted)) {
      const reasons = await reasonsAgainstDrop(session, authority, {
        isSourceRead: wanted.authorities !== undefined,
        reader: state,
        isClockTrusted: this.#doubt === undefined,
      });
      const isDropped = reasons.length === 0 && (await this.#dropAutomatically(authority));
      if (isDropped) continue;
      kept.set(authority.fingerprint, reasons);
      this.#findings.push(keptFinding(authority, reasons));
    }
    return kept;
  }

  /** The CAs that the source lacks, and those that have expired. */
  #candidates(wanted: WantedTrust): TrustAuthority[] {
    const session = this.#session;
    const unwanted = unwantedOf(session, wanted);
    return session.trusted.filter(
      (authority) => unwanted.includes(authority) || session.now >= authority.notAfter,
    );
  }

  async #dropAutomatically(authority: TrustAuthority): Promise<boolean> {
    const session = this.#session;
    if (session.request.config.trust.drop !== 'auto' || this.#isFailed) return false;
    try {
      await dropAuthority(session, authority, () => session.verify());
      this.#isChanged = true;
      return true;
    } catch (error) {
      this.#fail(failureOf(error));
      await session.refresh();
      return false;
    }
  }

  /** The CA that the signer of each certificate uses, by the name of the certificate. */
  async #issuers(
    leaves: readonly CurrentLeaf[],
    { client }: NodeApi,
  ): Promise<ReadonlyMap<string, TrustAuthority>> {
    const session = this.#session;
    const { config, signal } = session.request;
    const { issuer: configured } = config.trust;
    const issuers = new Map<string, TrustAuthority>();
    if (client === undefined) return issuers;
    try {
      const dialed = await session.dial(session.trusted);
      const served = dialed.flatMap((server) => (server.kind === 'verified' ? [server.chain] : []));
      const common = { authorities: session.trusted, served, client, signal };
      for (const { spec, pem } of leaves) {
        const { name, signerName } = spec;
        const search = { ...common, signerName, leaf: pem };
        const issuer = await issuingAuthority({
          ...search,
          ...(configured !== undefined && { configured }),
        });
        if (issuer !== undefined) issuers.set(name, issuer);
      }
    } catch (error) {
      this.#failure ??= failureOf(error);
    }
    return issuers;
  }

  #everyFinding(wanted: WantedTrust): TrustFinding[] {
    const { found, trusted } = this.#session;
    const ambiguous = ambiguityFindings(unionOf(trusted, wanted.authorities ?? []));
    return [...found.findings, ...wanted.findings, ...this.#findings, ...ambiguous];
  }

  #end(): Pick<TrustReport, 'outcome' | 'refusal' | 'failure' | 'retryAfterSeconds'> {
    const { now } = this.#session;
    const left = Math.max(this.#until - now, second);
    return {
      outcome: this.#outcome(),
      ...(this.#refusal && { refusal: this.#refusal }),
      ...(this.#failure && { failure: this.#failure }),
      ...(left < Infinity && { retryAfterSeconds: Math.ceil(left / second) }),
    };
  }

  #outcome(): TrustOutcome {
    if (this.#refusal !== undefined) return 'refused';
    if (this.#isFailed) return 'failed';
    if (this.#isChanged) return 'changed';
    return this.#failure === undefined ? 'in-sync' : 'waiting';
  }
}

/** @throws AgentError ABORTED, and other errors than AgentError */
function failureOf(error: unknown): Failure {
  if (!(error instanceof AgentError) || hasCode(error, 'ABORTED')) throw error;
  return toFailure(error);
}

function fingerprints(authorities: readonly TrustAuthority[]): string[] {
  return authorities.map(({ fingerprint }) => fingerprint);
}

function readerFinding({ message, remedy }: Failure): TrustFinding {
  return { id: 'reader_pending', message, ...(remedy !== undefined && { remedy }) };
}

function keptFinding(authority: TrustAuthority, reasons: readonly string[]): TrustFinding {
  const { notAfter } = authority;
  const what = `the CA ${briefly(authority)}, which ends at ${formatInstant(notAfter)},`;
  if (reasons.length === 0) {
    return {
      id: 'ca_droppable',
      message: `${what} is no longer needed`,
      remedy: 'Set trust.drop: auto in the configuration, so that nodecertd drops it',
    };
  }
  return {
    id: 'ca_kept',
    message: `${what} cannot be dropped yet: ${reasons.join('; ')}`,
    remedy: 'Do nothing, unless a reason lasts for longer than trust.dropAfter',
  };
}
